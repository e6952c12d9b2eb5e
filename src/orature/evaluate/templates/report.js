"use strict";
(() => {
  const make = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };
  const percent = (rate) => (100 * rate).toFixed(1) + "\u202f%";

  // Charts: the nearest point of each line under the pointer, in words below the chart.
  const SVG = "http://www.w3.org/2000/svg";
  for (const chart of document.querySelectorAll("svg[data-hover]")) {
    const lines = JSON.parse(chart.dataset.hover);
    const cursor = chart.querySelector(".cursor");
    const readout = chart.parentElement.querySelector(".readout");
    const box = chart.viewBox.baseVal;
    const leave = () => { cursor.replaceChildren(); readout.textContent = ""; };
    const move = (event) => {
      const frame = chart.getBoundingClientRect();
      const x = ((event.clientX - frame.left) / frame.width) * box.width;
      const near = lines.map((line) => ({
        name: line.n, style: line.s,
        point: line.p.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best)),
      }));
      const at = near[0].point;
      const rule = document.createElementNS(SVG, "line");
      for (const [key, value] of [["x1", at[0]], ["x2", at[0]], ["y1", 12], ["y2", box.height - 30]]) rule.setAttribute(key, value);
      const dots = near.map(({ style, point }) => {
        const dot = document.createElementNS(SVG, "circle");
        for (const [key, value] of [["cx", point[0]], ["cy", point[1]], ["r", 4], ["class", "dot dot-" + style]]) dot.setAttribute(key, value);
        return dot;
      });
      cursor.replaceChildren(rule, ...dots);
      readout.replaceChildren("update " + at[2] + ": ");
      near.forEach(({ name, point }, index) => {
        readout.append((index ? "  ·  " : "") + name, make("b", {}, point[3]));
      });
    };
    chart.addEventListener("pointermove", move);
    chart.addEventListener("pointerdown", move);
    chart.addEventListener("pointerleave", leave);
  }

  // Players: a round button and the outline of the recording; one plays at a time.
  const icon = (shape) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 14 14");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", shape);
    svg.append(path);
    return svg;
  };
  const PLAY = "M3 1.2v11.6L13 7z";
  const PAUSE = "M2.5 1.5h3.2v11H2.5zM8.3 1.5h3.2v11H8.3z";
  const all = [...document.querySelectorAll(".player audio")];
  for (const audio of all) {
    const player = audio.parentElement;
    const wave = player.querySelector(".wave");
    if (!wave) continue;
    const button = make("button", { type: "button", class: "play", "aria-label": "Play" }, icon(PLAY));
    const clock = make("span", { class: "clock" });
    player.prepend(button);
    player.append(clock);
    player.classList.add("live");
    const show = () => {
      const whole = audio.duration || Number(player.dataset.s) || 0;
      wave.style.setProperty("--at", (whole ? (100 * audio.currentTime) / whole : 0) + "%");
      clock.textContent = (audio.paused && !audio.currentTime ? whole : audio.currentTime).toFixed(1) + "\u202fs";
    };
    const tick = () => { show(); if (!audio.paused) requestAnimationFrame(tick); };
    button.addEventListener("click", () => (audio.paused ? audio.play() : audio.pause()));
    wave.addEventListener("click", (event) => {
      const frame = wave.getBoundingClientRect();
      audio.currentTime = ((event.clientX - frame.left) / frame.width) * (audio.duration || 0);
      audio.play();
    });
    audio.addEventListener("play", () => {
      all.forEach((other) => other !== audio && other.pause());
      button.replaceChildren(icon(PAUSE));
      button.setAttribute("aria-label", "Pause");
      tick();
    });
    audio.addEventListener("pause", () => { button.replaceChildren(icon(PLAY)); button.setAttribute("aria-label", "Play"); });
    audio.addEventListener("ended", () => { audio.currentTime = 0; show(); });
    audio.addEventListener("loadedmetadata", show);
    show();
    audio.addEventListener("error", () => { player.classList.remove("live"); button.remove(); clock.remove(); });
  }

  // Copy buttons.
  if (navigator.clipboard) {
    for (const button of document.querySelectorAll(".copy")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.previousElementSibling.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
    }
  }

  // The table of all utterances: id, speaker, seconds, WER, CER, said, heard, edits, refusal.
  const place = document.getElementById("table");
  const source = document.getElementById("rows");
  if (!place || !source) return;
  const rows = JSON.parse(source.textContent).map((row) => ({ row, key: (row[0] + " " + row[1] + " " + row[5] + " " + row[6]).normalize("NFC").toLowerCase() }));
  const COLUMNS = [["id", 0, "id"], ["speaker", 1, "who"], ["said and heard", 5, "text"], ["s", 2, "num"], ["WER", 3, "num"], ["CER", 4, "num"]];
  const PAGE = 25;
  let sort = [4, -1], page = 0, wanted = "", onlyErrors = false;
  const body = make("tbody");
  const found = make("span", { class: "found", role: "status" });
  const order = new Intl.Collator(undefined, { numeric: true });

  const words = (row, side) => {
    const line = make("span", { class: side ? "heard" : "said", dir: "auto" });
    const text = row[side ? 6 : 5];
    if (!row[7]) { line.append(text); return line; }
    const tokens = text.split(/\s+/u).filter(Boolean);
    let at = 0;
    for (const edit of row[7]) {
      if (edit === (side ? "d" : "i")) continue;
      const token = tokens[at++];
      if (at > 1) line.append(" ");
      line.append(edit === "=" ? token : make("mark", { class: edit }, token));
    }
    return line;
  };
  const shown = (row) => COLUMNS.map(([name, index, style]) => {
    const cell = make("td", { class: style, "data-name": name });
    if (style === "text") {
      cell.append(words(row, 0), words(row, 1));
      if (row[8]) cell.append(make("span", { class: "refusal" }, "refused: " + row[8]));
    } else if (style === "num") cell.append(index === 2 ? row[2].toFixed(1) : percent(row[index]));
    else cell.append(make("bdi", {}, row[index]));
    return cell;
  });
  const draw = () => {
    const kept = rows.filter(({ row, key }) => key.includes(wanted) && (!onlyErrors || row[4] > 0 || row[3] > 0));
    const [column, way] = sort;
    kept.sort((a, b) => {
      const [x, y] = [a.row[column], b.row[column]];
      return way * (typeof x === "number" ? x - y : order.compare(x, y)) || order.compare(a.row[0], b.row[0]);
    });
    const pages = Math.max(1, Math.ceil(kept.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    body.replaceChildren(...kept.slice(page * PAGE, (page + 1) * PAGE).map(({ row }) => make("tr", {}, ...shown(row))));
    found.textContent = kept.length.toLocaleString("en") + (kept.length === 1 ? " utterance" : " utterances");
    where.textContent = "page " + (page + 1) + " of " + pages;
    back.disabled = page === 0;
    forth.disabled = page === pages - 1;
    heads.forEach((head, index) => {
      if (COLUMNS[index][1] === column) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };
  const heads = COLUMNS.map(([name, index, style]) => make("th", { scope: "col", class: style }, make("button", {
    type: "button",
    onclick: () => { sort = [index, sort[0] === index ? -sort[1] : style === "num" ? -1 : 1]; page = 0; draw(); },
  }, name)));
  const search = make("input", {
    type: "search", placeholder: "Search words, speakers, ids", "aria-label": "Search the utterances", dir: "auto",
    oninput: (event) => { wanted = event.target.value.normalize("NFC").toLowerCase(); page = 0; draw(); },
  });
  const only = make("input", { type: "checkbox", onchange: (event) => { onlyErrors = event.target.checked; page = 0; draw(); } });
  const where = make("span");
  const back = make("button", { type: "button", onclick: () => { page -= 1; draw(); } }, "Back");
  const forth = make("button", { type: "button", onclick: () => { page += 1; draw(); } }, "Next");
  place.append(
    make("div", { class: "tools" }, search, make("label", {}, only, "only with errors"), found),
    make("table", { class: "all" }, make("thead", {}, make("tr", {}, ...heads)), body),
    make("div", { class: "pager" }, back, where, forth),
  );
  draw();
})();

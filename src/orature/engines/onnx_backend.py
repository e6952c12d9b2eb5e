"""CTC networks in ONNX: export with batch and time left open, rounding to 8 bits, and running under onnxruntime.

The graph takes `samples` (B, S), zero-padded, and `lengths` (B,) in samples, and gives `logits` (B, T, V) and `steps`
(B,). It is made by torch's dynamo exporter: the older one, given the same networks, runs without complaint and is wrong
at any other length than that of its example.

Example::

    export_onnx(network, Path("model.onnx"))
    round_to_int8(Path("model.onnx"), Path("model-int8.onnx"))
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.core.errors import ModelError, WorkFailed
from orature.engines.backends import BackendFacts, need_file, threads
from orature.engines.network import CtcNetwork, Part, Spans

MODEL = "model.onnx"
_OPSET = 18
_LARGE = 1_800_000_000
"""Above about 2 GB a protobuf cannot be written: the weights go into a file beside it."""
_SHORTEST = 16_000


def export_onnx(network: CtcNetwork, path: Path) -> None:
    """Writes the graph of `network`; WorkFailed where torch cannot trace it. Nothing of this machine is in it."""
    held = {name: getattr(network, name) for name in ("quick_front",) if hasattr(network, name)}
    for name in held:
        setattr(network, name, None)
    samples_BS = 0.1 * torch.sin(torch.arange(40_000.0)).view(2, 20_000)
    lengths_B = torch.tensor([20_000, 15_000])
    free = torch.export.Dim.DYNAMIC
    try:
        with torch.no_grad(), _quiet():
            program: Any = torch.onnx.export(
                network.eval(),
                (samples_BS, lengths_B),
                dynamo=True,
                dynamic_shapes={"samples_BS": {0: free, 1: free}, "lengths_B": {0: free}},
                input_names=["samples", "lengths"],
                output_names=["logits", "steps"],
                opset_version=_OPSET,
                verbose=False,
            )
            _strip(program.model)
            size = sum(parameter.numel() * 4 for parameter in network.parameters())
            program.save(str(path), external_data=size > _LARGE)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise WorkFailed(
            f"this network cannot be written as ONNX: {str(error).strip().splitlines()[0][:200]}",
            next_step="use the model folder as it is; `orature transcribe` runs it with torch",
        ) from error
    finally:
        for name, value in held.items():
            setattr(network, name, value)


def _strip(model: Any) -> None:
    """Takes out where in the source each node came from: paths of this machine, and most of the names."""
    graphs = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        for value in [*graph.inputs, *getattr(graph, "initializers", {}).values()]:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.doc_string = None


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of constraints that it then meets."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        nowhere = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def round_to_int8(source: Path, path: Path) -> None:
    """Weights of matrix products as 8-bit integers; what they multiply is rounded as it comes ("dynamic")."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            str(source),
            str(path),
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            use_external_data_format=source.stat().st_size > _LARGE or source.with_name(source.name + ".data").exists(),
        )


class InferenceCtc(CtcNetwork):
    """A network whose weights lie with another library: it decodes, and has nothing to train."""

    def __init__(self, facts: BackendFacts) -> None:
        super().__init__()
        if facts.steps is None:
            raise ModelError("backend.json says nothing of output steps", next_step="export the model again")
        self._steps = facts.steps
        self.step_samples = facts.steps.hop
        self.width = 0
        self.head = nn.Identity()

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """None."""
        return {}

    def steps(self, samples: int) -> int:
        """How many output steps a recording of `samples` samples gives."""
        return self._steps(samples)

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """ModelError: an exported model gives logits only."""
        raise ModelError(
            "an exported model can only decode",
            next_step="name the model folder that it was exported from",
        )


class OnnxCtc(InferenceCtc):
    """`model.onnx` under onnxruntime, on a CPU, or a GPU where onnxruntime has one."""

    def __init__(self, folder: Path, facts: BackendFacts, *, device: str = "cpu") -> None:
        import onnxruntime

        super().__init__(facts)
        path = need_file(folder, MODEL)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except onnxruntime.capi.onnxruntime_pybind11_state.OrtException as error:
            raise ModelError(
                f"onnxruntime cannot read the model: {str(error)[:200]}",
                where=str(path),
                next_step="export the model again with `orature export`",
            ) from error

    def forward(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and valid steps (B,)."""
        if samples_BS.shape[1] < _SHORTEST:  # some graphs ask for more than one step
            samples_BS = nn.functional.pad(samples_BS, (0, _SHORTEST - samples_BS.shape[1]))
        given = {"samples": samples_BS.float().cpu().numpy(), "lengths": lengths_B.cpu().numpy()}
        logits_BTV, steps_B = self._session.run(["logits", "steps"], given)
        return torch.from_numpy(cast(Any, logits_BTV)), torch.from_numpy(cast(Any, steps_B))

"""What the words for symbols, units and percentages are, and how numbers are written, by language.

Only words that do not change with number, gender or case stand here: where they do, a sentence is refused instead of
being read wrongly. Languages are the codes of num2words (ISO 639-1).

Example::

    SYMBOLS["fr"]["&"] == "et"
"""

from __future__ import annotations

CODES: dict[str, str] = {
    "am": "am", "amh": "am", "ar": "ar", "ara": "ar", "arb": "ar", "az": "az", "aze": "az", "azj": "az", "be": "be",
    "bel": "be", "bn": "bn", "ben": "bn", "ca": "ca", "cat": "ca", "ce": "ce", "che": "ce", "cs": "cs", "ces": "cs",
    "cy": "cy", "cym": "cy", "da": "da", "dan": "da", "de": "de", "deu": "de", "en": "en", "eng": "en", "eo": "eo",
    "epo": "eo", "es": "es", "spa": "es", "fa": "fa", "fas": "fa", "pes": "fa", "fi": "fi", "fin": "fi", "fr": "fr",
    "fra": "fr", "he": "he", "heb": "he", "hu": "hu", "hun": "hu", "id": "id", "ind": "id", "is": "is", "isl": "is",
    "it": "it", "ita": "it", "ja": "ja", "jpn": "ja", "kk": "kz", "kaz": "kz", "kn": "kn", "kan": "kn", "ko": "ko",
    "kor": "ko", "lt": "lt", "lit": "lt", "lv": "lv", "lav": "lv", "lvs": "lv", "nl": "nl", "nld": "nl", "no": "no",
    "nor": "no", "nb": "no", "nob": "no", "pl": "pl", "pol": "pl", "pt": "pt", "por": "pt", "ro": "ro", "ron": "ro",
    "ru": "ru", "rus": "ru", "sk": "sk", "slk": "sk", "sl": "sl", "slv": "sl", "sr": "sr", "srp": "sr", "sv": "sv",
    "swe": "sv", "te": "te", "tel": "te", "tet": "tet", "tg": "tg", "tgk": "tg", "th": "th", "tha": "th", "tr": "tr",
    "tur": "tr", "uk": "uk", "ukr": "uk", "vi": "vi", "vie": "vi",
}  # fmt: skip
"""BCP-47 primary tag to the code of num2words; never by the first two letters (ceb is not ce, est is not es)."""

REGIONS: dict[str, str] = {
    "fr-CH": "fr_CH", "fr-BE": "fr_BE", "fr-DZ": "fr_DZ", "es-CO": "es_CO", "es-VE": "es_VE", "es-GT": "es_GT",
    "es-CR": "es_CR", "es-NI": "es_NI", "pt-BR": "pt_BR", "en-IN": "en_IN", "en-NG": "en_NG",
}  # fmt: skip

DECIMAL_POINT = frozenset("en am bn cy he ja kn ko te th".split())
"""1,234.5; all others of num2words write 1.234,5 or 1 234,5."""

DECIMALS = frozenset("en de fr es it pt nl sv da no ca eo pl th ko am te kn is".split())
"""Languages whose decimals are read with a word for the mark that does not change."""

YEARS = frozenset("en de fr es it pt nl sv da no ca eo id vi th tr am kn te tet ja".split())
"""Languages in which a year is a number that does not change with its case (in Slavic ones it is an ordinal)."""

ORDINALS = frozenset("en fr es it pt ca".split())
"""Languages whose ordinals this module reads from 3rd, 1er, 2e, 2º."""

PERCENT: dict[str, str] = {
    "en": "percent", "de": "Prozent", "fr": "pour cent", "es": "por ciento", "it": "per cento", "pt": "por cento",
    "nl": "procent", "sv": "procent", "da": "procent", "no": "prosent", "id": "persen", "vi": "phần trăm",
    "ca": "per cent", "eo": "procentoj", "th": "เปอร์เซ็นต์", "ko": "퍼센트", "ja": "パーセント", "pl": "procent",
    "hu": "százalék", "ro": "la sută", "tr": "yüzde", "fa": "درصد", "he": "אחוז",
}  # fmt: skip
PERCENT_FIRST = frozenset({"tr"})
PERCENT_NO_DECIMALS = frozenset({"pl", "he"})

SYMBOLS: dict[str, dict[str, str]] = {
    "en": {"&": "and", "+": "plus", "=": "equals", "×": "times"},
    "de": {"&": "und", "+": "plus", "=": "gleich", "×": "mal"},
    "fr": {"&": "et", "+": "plus", "=": "égale", "×": "fois"},
    "es": {"&": "y", "+": "más", "=": "igual a", "×": "por"},
    "it": {"&": "e", "+": "più", "=": "uguale a", "×": "per"},
    "pt": {"&": "e", "+": "mais", "=": "igual a", "×": "vezes"},
    "nl": {"&": "en", "+": "plus", "=": "is", "×": "keer"},
    "sv": {"&": "och", "+": "plus", "=": "lika med", "×": "gånger"},
    "da": {"&": "og", "+": "plus", "=": "lig med"},
    "no": {"&": "og", "+": "pluss", "=": "er lik"},
    "id": {"&": "dan", "+": "tambah", "=": "sama dengan"},
    "cs": {"&": "a", "+": "plus"},
    "sk": {"&": "a", "+": "plus"},
    "pl": {"&": "i", "+": "plus"},
    "ru": {"&": "и", "+": "плюс"},
    "uk": {"&": "і", "+": "плюс"},
    "tr": {"&": "ve", "+": "artı", "=": "eşittir"},
    "fi": {"&": "ja", "+": "plus"},
    "hu": {"&": "és", "+": "plusz"},
    "ca": {"&": "i", "+": "més"},
    "ro": {"&": "și", "+": "plus"},
    "sw": {"&": "na"},
    "yo": {"&": "àti"},
    "vi": {"&": "và", "+": "cộng"},
}

RANGE: dict[str, str] = {
    "en": "to", "de": "bis", "fr": "à", "es": "a", "it": "a", "pt": "a", "nl": "tot", "sv": "till", "da": "til",
    "no": "til", "id": "sampai", "ca": "a", "vi": "đến", "th": "ถึง",
}  # fmt: skip

UNITS: dict[str, dict[str, tuple[str, str]]] = {
    "en": {
        "km": ("kilometre", "kilometres"), "m": ("metre", "metres"), "cm": ("centimetre", "centimetres"),
        "mm": ("millimetre", "millimetres"), "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"),
        "mg": ("milligram", "milligrams"), "l": ("litre", "litres"), "ml": ("millilitre", "millilitres"),
        "ha": ("hectare", "hectares"), "km²": ("square kilometre", "square kilometres"),
        "m²": ("square metre", "square metres"), "km/h": ("kilometre per hour", "kilometres per hour"),
        "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
        "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"), "mph": ("mile per hour", "miles per hour"),
        "ft": ("foot", "feet"), "lb": ("pound", "pounds"), "°": ("degree", "degrees"), "min": ("minute", "minutes"),
    },
    "de": {
        "km": ("Kilometer", "Kilometer"), "m": ("Meter", "Meter"), "cm": ("Zentimeter", "Zentimeter"),
        "mm": ("Millimeter", "Millimeter"), "kg": ("Kilogramm", "Kilogramm"), "g": ("Gramm", "Gramm"),
        "l": ("Liter", "Liter"), "ha": ("Hektar", "Hektar"), "km²": ("Quadratkilometer", "Quadratkilometer"),
        "m²": ("Quadratmeter", "Quadratmeter"), "km/h": ("Kilometer pro Stunde", "Kilometer pro Stunde"),
        "°C": ("Grad Celsius", "Grad Celsius"), "°": ("Grad", "Grad"),
    },
    "fr": {
        "km": ("kilomètre", "kilomètres"), "m": ("mètre", "mètres"), "cm": ("centimètre", "centimètres"),
        "mm": ("millimètre", "millimètres"), "kg": ("kilogramme", "kilogrammes"), "g": ("gramme", "grammes"),
        "l": ("litre", "litres"), "ha": ("hectare", "hectares"), "km²": ("kilomètre carré", "kilomètres carrés"),
        "m²": ("mètre carré", "mètres carrés"), "km/h": ("kilomètre heure", "kilomètres heure"),
        "°C": ("degré Celsius", "degrés Celsius"), "°": ("degré", "degrés"),
    },
    "es": {
        "km": ("kilómetro", "kilómetros"), "m": ("metro", "metros"), "cm": ("centímetro", "centímetros"),
        "mm": ("milímetro", "milímetros"), "kg": ("kilogramo", "kilogramos"), "g": ("gramo", "gramos"),
        "l": ("litro", "litros"), "km²": ("kilómetro cuadrado", "kilómetros cuadrados"),
        "m²": ("metro cuadrado", "metros cuadrados"), "km/h": ("kilómetro por hora", "kilómetros por hora"),
        "°C": ("grado Celsius", "grados Celsius"), "°": ("grado", "grados"),
    },
    "it": {
        "km": ("chilometro", "chilometri"), "m": ("metro", "metri"), "cm": ("centimetro", "centimetri"),
        "mm": ("millimetro", "millimetri"), "kg": ("chilogrammo", "chilogrammi"), "g": ("grammo", "grammi"),
        "l": ("litro", "litri"), "km²": ("chilometro quadrato", "chilometri quadrati"),
        "km/h": ("chilometro orario", "chilometri orari"), "°C": ("grado Celsius", "gradi Celsius"),
    },
    "pt": {
        "km": ("quilómetro", "quilómetros"), "m": ("metro", "metros"), "cm": ("centímetro", "centímetros"),
        "kg": ("quilograma", "quilogramas"), "g": ("grama", "gramas"), "l": ("litro", "litros"),
        "km²": ("quilómetro quadrado", "quilómetros quadrados"), "°C": ("grau Celsius", "graus Celsius"),
    },
    "nl": {
        "km": ("kilometer", "kilometer"), "m": ("meter", "meter"), "cm": ("centimeter", "centimeter"),
        "kg": ("kilogram", "kilogram"), "g": ("gram", "gram"), "l": ("liter", "liter"),
        "km²": ("vierkante kilometer", "vierkante kilometer"), "°C": ("graad Celsius", "graden Celsius"),
    },
    "sv": {
        "km": ("kilometer", "kilometer"), "m": ("meter", "meter"), "cm": ("centimeter", "centimeter"),
        "kg": ("kilogram", "kilogram"), "g": ("gram", "gram"), "l": ("liter", "liter"),
        "km²": ("kvadratkilometer", "kvadratkilometer"), "°C": ("grad Celsius", "grader Celsius"),
    },
    "id": {
        "km": ("kilometer", "kilometer"), "m": ("meter", "meter"), "cm": ("sentimeter", "sentimeter"),
        "kg": ("kilogram", "kilogram"), "g": ("gram", "gram"), "°C": ("derajat Celsius", "derajat Celsius"),
    },
}  # fmt: skip
UNIT_SIGNS = frozenset(
    "km m cm mm kg g mg l ml cl dl ha km² m² km³ m³ km/h °C °F ° kW MW GW kWh W V A Hz kHz MHz GHz GB MB kB TB mph ft "
    "lb min h s ms µm nm t hl cal kcal hPa Pa bar dB"
    .split()
)  # fmt: skip
"""After a number these are units; where a language has no word for one, the sentence is refused."""

CURRENCIES: dict[str, str] = {
    "€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "₦": "NGN", "₽": "RUB", "₴": "UAH",
    "₺": "TRY", "₩": "KRW", "₪": "ILS", "₫": "VND", "zł": "PLN", "Kč": "CZK", "EUR": "EUR", "USD": "USD", "GBP": "GBP",
    "CHF": "CHF", "JPY": "JPY", "NGN": "NGN", "KES": "KES", "INR": "INR", "RUB": "RUB", "PLN": "PLN", "CZK": "CZK",
    "HUF": "HUF", "SEK": "SEK", "NOK": "NOK", "DKK": "DKK", "ETB": "ETB", "₵": "GHS", "₸": "KZT", "฿": "THB",
}  # fmt: skip
CURRENCY_LANGUAGES = frozenset("en de fr es it pt nl sv no da tr".split())
MASCULINE_ONLY = frozenset("es it pt".split())
"""There only euro and dollar are read: other currencies are feminine and change the number."""
ONE_AGREES = frozenset("de es it pt sv no da".split())
"""Languages where a final one changes before a noun (ein Euro, veintiún kilómetros): refused there."""

"""The wording of sections: every text that the code asks for is there, and none is left over."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from unshaken.report import sections
from unshaken.report.section import Wording

FOLDER = Path(sections.__file__).parent
CODES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.parent.rglob("*.py"))}
CODES = {name: text for name, text in CODES.items() if "Wording(" in text}
TEMPLATES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.jinja"))}


@pytest.mark.parametrize("name", CODES)
def test_code_and_templates_name_the_same_texts(name: str) -> None:
    text = "".join(TEMPLATES[template] for template in re.findall(r'Wording\("(\w+)"\)', CODES[name]))
    macros = {*re.findall(r"{%-? *macro (\w+)", text)}
    used = {*re.findall(r"\b(?:WORDING|PICTURES)\.(\w+)", CODES[name])}
    used = used - {"drawing"} | ({"alt_text", "caption"} if "drawing" in used else set())
    assert used <= macros
    assert not [m for m in macros - used if text.count(f"{m}(") == 1], "texts that nobody asks for"


def test_every_template_is_used() -> None:
    everything = "".join([*CODES.values(), *TEMPLATES.values()])
    unused = [name for name in TEMPLATES if f'"{name}"' not in everything and f'"{name}.jinja"' not in everything]
    assert not unused


def test_a_text_is_one_line_with_the_formats_of_the_report() -> None:
    caption = Wording("spread").caption(10, True)
    assert caption.startswith("Variance of the probability of the right class over 10 draws, for each input; 0.25 is")
    assert caption.endswith("Variances below one billionth are drawn there.")
    assert "\n" not in caption
    assert "  " not in caption


def test_a_missing_text_or_value_is_an_error() -> None:
    with pytest.raises(AttributeError):
        Wording("spread").subtitle()
    with pytest.raises(UndefinedError):
        Wording("spread").note()

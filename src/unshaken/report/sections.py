"""What a report says besides accuracy: one function for each idea, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unshaken.report.agreement import agreement_section
from unshaken.report.angles import angles_section
from unshaken.report.budget import budget_section
from unshaken.report.conditions import conditions_section
from unshaken.report.curves import curves_section
from unshaken.report.flatness import flatness_section
from unshaken.report.frontier import frontier_section
from unshaken.report.inference import inference_section
from unshaken.report.latents import latents_section
from unshaken.report.lengths import lengths_section
from unshaken.report.losses import losses_section
from unshaken.report.models import models_section
from unshaken.report.section import Section
from unshaken.report.seeds import seeds_section
from unshaken.report.settings import settings_section
from unshaken.report.sizes import sized, sizes
from unshaken.report.slopes import slopes_section
from unshaken.report.source import Source
from unshaken.report.spread import spread_section
from unshaken.report.steps import steps_section
from unshaken.report.strongest import strongest_section
from unshaken.report.survival import survival_section
from unshaken.report.tables import Panel
from unshaken.report.timing import timing_section
from unshaken.report.transfer import transfer_section

SECTIONS: dict[str, Callable[[Source, Sequence[Panel]], Section | None]] = {
    "survival": survival_section,
    "models": models_section,
    "seeds": seeds_section,
    "budget": budget_section,
    "settings": settings_section,
    "steps": steps_section,
    "scores": curves_section,
    "losses": losses_section,
    "frontier": frontier_section,
    "time": timing_section,
    "agreement": agreement_section,
    "spread": spread_section,
    "flatness": flatness_section,
    "latents": latents_section,
    "conditions": conditions_section,
    "angles": angles_section,
    "slopes": slopes_section,
    "inference": inference_section,
    "lengths": lengths_section,
    "transfer": transfer_section,
    "strongest": strongest_section,
}


def sections(source: Source, panels: Sequence[Panel]) -> list[Section]:
    """Every section that there is something for, in the order of SECTIONS; its tables tell the sizes of models."""
    known = sizes(source.about)
    found = [section(source, panels) for section in SECTIONS.values()]
    return [part._replace(tables=[sized(table, known) for table in part.tables]) for part in found if part is not None]

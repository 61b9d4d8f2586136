"""What a report says besides accuracy: one function for each idea, by name."""

from collections.abc import Callable, Sequence

from unshaken.report.accuracy import Panel
from unshaken.report.section import Section
from unshaken.report.sections.agreement import agreement_section
from unshaken.report.sections.angles import angles_section
from unshaken.report.sections.budget import budget_section
from unshaken.report.sections.conditions import conditions_section
from unshaken.report.sections.curves import curves_section
from unshaken.report.sections.flatness import flatness_section
from unshaken.report.sections.frontier import frontier_section
from unshaken.report.sections.inference import inference_section
from unshaken.report.sections.latents import latents_section
from unshaken.report.sections.lengths import lengths_section
from unshaken.report.sections.losses import losses_section
from unshaken.report.sections.models import models_section
from unshaken.report.sections.seeds import seeds_section
from unshaken.report.sections.settings import settings_section
from unshaken.report.sections.slopes import slopes_section
from unshaken.report.sections.spread import spread_section
from unshaken.report.sections.steps import steps_section
from unshaken.report.sections.strongest import strongest_section
from unshaken.report.sections.survival import survival_section
from unshaken.report.sections.timing import timing_section
from unshaken.report.sections.transfer import transfer_section
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import add_sizes, model_sizes

SECTIONS: dict[str, Callable[[StoredRun, Sequence[Panel]], Section | None]] = {
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


def sections(run: StoredRun, panels: Sequence[Panel]) -> list[Section]:
    """Every section that there is something for, in the order of SECTIONS; its tables tell the sizes of models."""
    sizes, written = model_sizes(run.record), [section(run, panels) for section in SECTIONS.values()]
    return [s._replace(tables=[add_sizes(table, sizes) for table in s.tables]) for s in written if s is not None]

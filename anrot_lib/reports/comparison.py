"""Methods against each other on the same episodes: trained, tested, recorded, and drawn as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anrot_lib.core import devices
from anrot_lib.core.progress import Progress, bar
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments.columns import check_asked
from anrot_lib.experiments.rows import run_rows
from anrot_lib.experiments.setting import Setting, choose_folder
from anrot_lib.fewshot.methods import get_method, list_rows
from anrot_lib.records import results
from anrot_lib.records.describe import describe_protocol
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import tables
from anrot_lib.settings import Budget, Protocol, get_radii, preset


@dataclass(frozen=True)
class Comparison:
    """The records of methods that were tested on the same episodes. `print` shows them as a table."""

    records: list[AccuracyRecord]
    paths: list[Path]

    def __str__(self) -> str:
        return f"{tables.format_text(*tables.make_table(self.records))}\n\n{self._caption()}"

    def _caption(self) -> str:
        bounds = tables.explain_bounds(tables.select_main_columns(self.records))
        return f"{tables.write_caption(self.records[0])}{bounds}"

    def _repr_markdown_(self) -> str:
        return f"{tables.format_markdown(*tables.make_table(self.records))}\n\n{self._caption()}"

    def differences(self, reference: str) -> str:
        """Paired differences to a method, in points, with 95 % intervals: do two methods differ?"""
        return tables.format_text(*tables.compute_differences(self.records, reference))


def compare(
    image_set: ImageSet,
    methods: Sequence[str] | None = None,
    protocol: Protocol | None = None,
    budget: Budget | None = None,
    *,
    columns: Sequence[str] | None = None,
    tag: str = "",
    device: str = "auto",
    progress: Progress = bar,
) -> Comparison:
    """Train methods, test them on the same stored episodes, and write a record of each, as `anrot run` does.

    methods   names of methods; None takes the rows of the main table. Attack and noise of their training have the radii
              of the image set (`settings.RADII`) unless their recipes set others.
    protocol  way, shot, seed and attacks; None takes the radii of the image set.
    budget    sizes and lengths; None takes `preset()`, for images of this size.
    columns   what is tested, by name or its first words: "clean", "FGSM", "noise 0.10"; None takes the columns of the
              main table: clean, FGSM, PGD, transferred FGSM, noise.
    tag       goes into the name of the folder of records, which is below data/runs.

    UserError for an unknown method or column, before anything is trained.
    What was killed goes on from its last checkpoint, and what has been recorded for the same settings is not run again.
    """
    radii = get_radii(image_set.name)
    protocol, budget = protocol or radii.make_protocol(), budget or preset(size=image_set.images.shape[1])
    on = devices.resolve_device(device)
    main = tables.list_main_columns(describe_protocol(protocol)).values()
    setting = Setting(
        image_set,
        protocol,
        budget,
        on,
        devices.resolve_precision(budget.precision, on),
        progress,
        choose_folder(image_set, protocol, budget, tag),
        tuple(main if columns is None else columns),
    )
    check_asked(setting)
    names = list(list_rows() if methods is None else methods)
    paths = run_rows(setting, {name: radii.adapt(get_method(name).recipe) for name in names})
    return Comparison([results.read(path, "accuracy") for path in paths], paths)

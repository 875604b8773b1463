"""The five tasks (viewing conditions) of SJTU-TIS: the kind of text that was read before the image was viewed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from saltext.errors import ConfigError, near


@dataclass(frozen=True)
class Task:
    """One viewing condition.

    Attributes:
        name: The name used everywhere in this package.
        suffix: What follows the image ID in the task's file names.
        sheet: Sheet of the workbook that holds the task's texts; None for a task without text.
        label: The task's value in that sheet's kind column; None where the sheet has one kind only.
        image_sets: The halves of the data set, ``"A"`` and ``"B"``, whose images have this task.
        aliases: Names in the TranBlend, CLIP-SalGAN and TGSal papers. Not accepted as input: "all" is one task there.
    """

    name: str
    suffix: str
    sheet: str | None
    label: str | None
    image_sets: str
    aliases: tuple[str, ...]

    @property
    def has_text(self) -> bool:
        """Whether the subject read a text before looking."""
        return self.sheet is not None


WHOLE_SHEET = "整体"
PART_SHEET = "部分-实验设置"

TASKS: tuple[Task, ...] = (
    Task("pure", "_0", None, None, "AB", ("free viewing",)),
    Task("whole", "", WHOLE_SHEET, None, "A", ("type 1", "scenario")),
    Task("general", "_1", PART_SHEET, "整体", "B", ("all", "type 4", "salient and non-salient")),
    Task("salient", "_3", PART_SHEET, "显著", "B", ("type 2",)),
    Task("non_salient", "_2", PART_SHEET, "非显著", "B", ("type 3",)),
)
"""The tasks of SJTU-TIS, in the order of tables."""

FOLDERS: Mapping[str, tuple[str, str]] = {
    "image": ("image_1800", "image"),
    "map": ("map_1800", "map"),
    "fixation": ("fixation_1800", "fixation"),
}
"""The three kinds of file of SJTU-TIS and the folder names under which they were published."""

TASK_BY_NAME: Mapping[str, Task] = {task.name: task for task in TASKS}
TASK_BY_SUFFIX: Mapping[str, Task] = {task.suffix: task for task in TASKS}
TASK_ORDER: Mapping[str, int] = {task.name: index for index, task in enumerate(TASKS)}


def parse_tasks(names: str | Sequence[str]) -> tuple[Task, ...]:
    """The tasks of these names, without repeats, in the fixed order pure, whole, general, salient, non_salient.

    Args:
        names: One task name or several.

    Raises:
        ConfigError: No name is given, or some are unknown; names each of them with the closest known task.
    """
    return tuple(TASK_BY_NAME[name] for name in chosen(names, tuple(TASK_BY_NAME)))


def chosen(names: str | Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """The chosen ones among the ``known`` task names of a data set, in the order of ``known``, without repeats.

    Raises:
        ConfigError: As :func:`parse_tasks`.
    """
    chosen_names = [names] if isinstance(names, str) else list(names)
    choices = ", ".join(known)
    if not chosen_names:
        raise ConfigError(f"no task is chosen; set data.tasks to one or more of: {choices}")
    unknown = [str(name) for name in chosen_names if name not in known]
    if unknown:
        described = "; ".join(f"{name!r}{_known_name_hint(name, known)}" for name in unknown)
        raise ConfigError(f"unknown task {described}. Choose data.tasks from: {choices}")
    return tuple(name for name in known if name in chosen_names)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of tasks as tables list them, without repeats: those of SJTU-TIS in the fixed order, then others."""
    present = list(dict.fromkeys(names))
    return sorted(present, key=lambda name: TASK_ORDER.get(name, len(TASKS)))


def _known_name_hint(name: str, known: Collection[str]) -> str:
    """A hint at the task that a paper calls so, or at a similar name; empty without one."""
    plain = _letters_and_digits(name)
    for task in TASKS:
        if task.name in known and plain in (_letters_and_digits(task.name), *map(_letters_and_digits, task.aliases)):
            return f" (here: {task.name!r})"
    return near(name, known)


def _letters_and_digits(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))

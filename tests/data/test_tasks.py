import pytest

from saltext.data.tasks import TASKS, chosen, in_order, parse_tasks
from saltext.errors import ConfigError


def test_tasks_come_back_in_the_fixed_order_without_repeats() -> None:
    names = [task.name for task in parse_tasks(["non_salient", "pure", "pure"])]
    assert names == ["pure", "non_salient"]


def test_a_single_name_needs_no_list() -> None:
    assert [task.name for task in parse_tasks("salient")] == ["salient"]


def test_each_unknown_task_is_named_with_the_closest_match_and_the_choices() -> None:
    with pytest.raises(ConfigError, match="'nonsalient' \\(here: 'non_salient'\\)") as caught:
        parse_tasks(["pure", "nonsalient", "sallient"])
    message = str(caught.value)
    assert "'sallient' (did you mean 'salient'?)" in message
    assert "pure, whole, general, salient, non_salient" in message


def test_the_papers_name_all_is_refused_because_it_means_one_task() -> None:
    with pytest.raises(ConfigError, match="'all' \\(here: 'general'\\)"):
        parse_tasks(["all"])


def test_no_task_is_an_error_that_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"set data\.tasks to one or more of: pure"):
        parse_tasks([])


def test_other_data_have_names_of_their_own() -> None:
    assert chosen(["b", "a", "b"], ("a", "b", "c")) == ("a", "b")
    with pytest.raises(ConfigError, match=r"'pure'\. Choose data\.tasks from: free, described"):
        chosen("pure", ("free", "described"))


def test_tables_list_the_known_tasks_first_and_others_as_they_come() -> None:
    assert in_order(["z", "salient", "a", "pure", "z"]) == ["pure", "salient", "z", "a"]


def test_file_endings_are_distinct() -> None:
    assert sorted(task.suffix for task in TASKS) == ["", "_0", "_1", "_2", "_3"]

"""The order of things in a campaign: what is pressed, tried again, given up and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import ArchiveError, ConfigureError, Interrupted, LoadError
from soakbed.stages.campaign_run import CellRunner
from tests.golden.made_campaign import begun, campaign_spec, made_testbed


class Hands:
    """Presses cells by writing a word; `raises` holds what each press raises, None where it works,
    or the targets that it judges invalid.

    Time stands still but for rests and for the ten seconds that each press takes.
    """

    def __init__(self, folder: CampaignFolder, raises=()) -> None:
        self.folder = folder
        self.raises = list(raises)
        self.pressed: list[tuple[str, str]] = []
        self.wiped = 0
        self.wipe_raises: Exception | None = None
        self.rests: list[float] = []
        self.told: list[str] = []
        self.at_s = 1000.0

    def press(self, cell, run: RunFolder) -> list[str]:
        self.pressed.append((cell.key, run.run_id))
        self.at_s += 10
        error = self.raises.pop(0) if self.raises else None
        if isinstance(error, BaseException):
            raise error
        run.write("summary", {"pressed": True})
        run.finish()
        return error or []

    def wipe(self) -> None:
        self.wiped += 1
        if self.wipe_raises:
            raise self.wipe_raises

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.at_s += seconds

    def run(self, *, retry_failed: bool = False):
        runner = CellRunner(
            self.folder,
            press=self.press,
            wipe=self.wipe,
            tell=self.told.append,
            rest=self.rest,
            now_s=lambda: self.at_s,
        )
        if retry_failed:
            runner.retry_failed()
        return runner()

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.pressed]


FAILED = ConfigureError("d1 would not start\nat all", remedy="look at d1")


@pytest.fixture
def folder(tmp_path) -> CampaignFolder:
    return begun(tmp_path, campaign_spec())


def order_of(folder: CampaignFolder) -> list[str]:
    return [cell.key for cell in folder.read().plan.cells]


def test_every_cell_is_pressed_once_in_the_order_of_the_plan_as_a_run_of_its_own(folder):
    hands = Hands(folder)
    campaign = hands.run()
    assert hands.keys == order_of(folder)
    assert campaign.finished and campaign == folder.read()
    for cell, state in campaign.pairs():
        assert RunFolder.open(folder.results, state.run_id).spec() == cell.spec
    assert len({run_id for _, run_id in hands.pressed}) == len(hands.keys)


def test_between_cells_the_machine_cools_down_and_not_before_the_first(folder):
    hands = Hands(folder)
    hands.run()
    assert hands.rests == [pytest.approx(1.0)] * (len(hands.keys) - 1)


def test_a_pause_that_has_passed_already_is_not_waited_for_again(folder):
    hands = Hands(folder, raises=[None, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        hands.run()
    later = Hands(folder)
    later.at_s = hands.at_s + 0.25  # the first cell ended ten seconds before
    later.run()
    assert later.rests[0] == pytest.approx(1.0)
    assert len(later.rests) == 2, "the cell that was cut off begins at once"


def test_a_cell_that_fails_is_tried_once_more_on_wiped_hosts_in_a_new_run(folder):
    hands = Hands(folder, raises=[FAILED])
    campaign = hands.run()
    first = campaign.states[0]
    assert hands.keys == [order_of(folder)[0], *order_of(folder)]
    assert [one.outcome for one in first.attempts] == ["failed", "finished"]
    assert first.attempts[0].run_id != first.attempts[1].run_id
    assert first.attempts[0].problem == FAILED.problem
    assert first.settled == "done" and hands.wiped == 1


def test_a_cell_that_fails_twice_is_reported_and_the_campaign_goes_on(folder):
    hands = Hands(folder, raises=[FAILED, OSError("disk is full")])
    campaign = hands.run()
    assert [state.settled for state in campaign.states] == ["failed", "done", "done", "done"]
    assert [one.problem for one in campaign.states[0].attempts] == [
        FAILED.problem,
        "disk is full",
    ]
    assert campaign.finished and hands.wiped == 2
    assert any("warning: " in told and "d1 would not start" in told for told in hands.told)


def test_a_failed_cell_can_be_given_its_two_tries_back(folder):
    Hands(folder, raises=[FAILED, FAILED]).run()
    hands = Hands(folder, raises=[FAILED])
    campaign = hands.run(retry_failed=True)
    assert hands.keys == [order_of(folder)[0]] * 2
    assert [one.outcome for one in campaign.states[0].attempts] == [
        *["failed"] * 3,
        "finished",
    ]


def test_three_cells_in_a_row_that_fail_twice_stop_the_campaign_with_the_way_out(folder):
    hands = Hands(folder, raises=[FAILED] * 6)
    with pytest.raises(LoadError, match=r"3 cells in a row failed twice.*d1 would not") as caught:
        hands.run()
    assert "look at d1" in caught.value.remedy and "--retry-failed" in caught.value.remedy
    assert [state.settled for state in folder.read().states] == [*["failed"] * 3, "left"]


def test_hosts_that_cannot_be_wiped_do_not_stop_it_either(folder):
    hands = Hands(folder, raises=[FAILED])
    hands.wipe_raises = ConfigureError("no host answers", remedy="provision")
    assert hands.run().finished
    assert any("no host answers" in told for told in hands.told)


def test_an_invalid_cell_is_a_result_and_not_pressed_again(folder):
    hands = Hands(folder, raises=[["etcd"]])
    assert hands.run().finished
    assert hands.keys == order_of(folder)


def test_an_invalid_cell_is_pressed_once_more_where_the_campaign_asks_for_it(tmp_path):
    folder = begun(tmp_path, campaign_spec(retry_invalid=True))
    hands = Hands(folder, raises=[["etcd"], ["etcd"]])
    campaign = hands.run()
    assert hands.keys == [order_of(folder)[0], *order_of(folder)]
    first, second = campaign.states[0].attempts
    assert (first.outcome, second.outcome) == ("invalid", "finished"), "the second stands"
    assert first.problem == "judged invalid: etcd" and first.run_id != second.run_id
    assert any("once more" in told for told in hands.told)


@pytest.mark.parametrize(
    "cut", [KeyboardInterrupt(), Interrupted("stopped", remedy="go on"), RuntimeError("a bug")]
)
def test_what_was_cut_off_goes_on_in_its_own_run_folder_and_what_is_done_is_left_alone(folder, cut):
    hands = Hands(folder, raises=[None, cut])
    with pytest.raises(type(cut)):
        hands.run()
    assert [state.settled for state in folder.read().states] == ["done", "left", "left", "left"]
    again = Hands(folder)
    again.at_s = hands.at_s
    assert again.run().finished
    assert again.pressed[0] == hands.pressed[1]
    assert again.keys == order_of(folder)[1:]


def test_a_kill_between_making_a_run_folder_and_noting_it_leaves_no_second_one(folder):
    cell = folder.read().plan.cells[0]
    orphan = RunFolder.begin(folder.results, cell.spec)
    hands = Hands(folder)
    hands.run()
    assert hands.pressed[0] == (cell.key, orphan.run_id)


def test_a_repeat_of_a_cell_is_never_the_unfinished_run_of_its_twin(tmp_path):
    folder = begun(tmp_path, campaign_spec(repeats=2))
    hands = Hands(folder, raises=[FAILED, FAILED])
    campaign = hands.run()
    runs = [one.run_id for state in campaign.states for one in state.attempts]
    assert len(runs) == len(set(runs)) == 9


def test_a_campaign_is_found_again_by_what_was_asked(tmp_path):
    spec, testbed = campaign_spec(), made_testbed()
    assert CampaignFolder.unfinished(tmp_path, spec, testbed) is None
    folder = begun(tmp_path, spec)
    found = CampaignFolder.unfinished(tmp_path, spec, testbed)
    assert found is not None and found.campaign_id == folder.campaign_id
    assert CampaignFolder.unfinished(tmp_path, campaign_spec(seed=2), testbed) is None
    Hands(folder, raises=[FAILED, FAILED]).run()
    assert CampaignFolder.unfinished(tmp_path, spec, testbed) is None
    again = CampaignFolder.unfinished(tmp_path, spec, testbed, or_failed=True)
    assert again is not None and again.campaign_id == folder.campaign_id
    assert CampaignFolder.open(tmp_path, "latest").campaign_id == folder.campaign_id


def test_a_campaign_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(ArchiveError, match="none yet"):
        CampaignFolder.open(tmp_path, "latest")
    folder = begun(tmp_path, campaign_spec())
    with pytest.raises(ArchiveError, match=folder.campaign_id):
        CampaignFolder.open(tmp_path, "another")
    (folder.path / "campaign.json").write_text("{")
    with pytest.raises(ArchiveError, match="is damaged"):
        folder.read()
    assert Path(folder.path).is_dir()

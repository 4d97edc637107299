"""Plans: what is refused, and what one seed expands to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from checkers.records.schema import PlanFacts
from harness.expansion import expand
from harness.plan import (
    PARTITIONS,
    FaultsPlan,
    Plan,
    PlanError,
    Step,
    Trigger,
    check_plan,
    default_quotas,
    drift_bound,
    read_plan,
)

PLANS = sorted((Path(__file__).parents[2] / "plans").rglob("*.toml"))


def encoded(plan: Plan, seed: int) -> bytes:
    return msgspec.json.encode(expand(plan, seed), order="deterministic")


def test_two_expansions_of_one_seed_are_byte_equal() -> None:
    assert encoded(Plan(), 7) == encoded(Plan(), 7)
    assert encoded(Plan(), 7) != encoded(Plan(), 8)


def test_adding_a_client_leaves_the_fault_schedule_as_it_was() -> None:
    few, many = expand(Plan(clients=10), 7), expand(Plan(clients=11), 7)
    assert few.steps == many.steps
    assert many.clients[:10] == few.clients


def test_the_expanded_plan_holds_no_place_or_time_of_this_machine() -> None:
    text = encoded(Plan(), 7).decode()
    assert "127." not in text
    assert "/tmp" not in text


def test_at_least_half_of_the_clients_are_pinned_and_spread_over_all_nodes() -> None:
    for count in (1, 2, 5, 10, 11):
        clients = expand(Plan(clients=count), 1).clients
        pinned = [client.pinned for client in clients if client.pinned]
        assert len(pinned) >= count / 2
        assert len(set(pinned)) == min(5, len(pinned))


def test_a_short_run_still_meets_each_kind_and_cuts_the_leader_off() -> None:
    for seed in range(50):
        steps = expand(Plan(time_s=10.0), seed).steps
        kinds = {step.kind for step in steps}
        assert kinds == set(FaultsPlan().kinds), seed
        shapes = [step.args["shape"] for step in steps if step.kind == "partition"]
        assert shapes[0] == "minority_with_leader"
        assert set(shapes) <= set(PARTITIONS)


def test_drawn_clock_rates_stay_within_the_declared_bound_and_reach_most_of_it() -> None:
    plan = Plan(time_s=60.0)
    for seed in range(30):
        for step in expand(plan, seed).steps:
            if step.kind == "clock_rate":
                ratio = step.args["rates"]["followers"] / step.args["rates"]["leader"]
                assert 1 + 0.8 * drift_bound(plan) <= ratio <= 1 + drift_bound(plan)
                assert max(step.args["rates"].values()) <= 1 + drift_bound(plan)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(nodes=0), "nodes"),
        (Plan(time_s=-1.0), "time_s"),
        (Plan(quiet_s=-0.1), "quiet_s"),
        (Plan(clients=0), "clients"),
        (Plan(rate=-1.0), "rate"),
        (Plan(nodes=2), "quorum"),
        (Plan(faults=FaultsPlan(kinds=("earthquake",))), "earthquake"),
        (Plan(faults=FaultsPlan(partitions=())), "partitions"),
        (Plan(faults=FaultsPlan(length_s=(2.0, 1.0))), "length_s"),
        (Plan(steps=[Step(id="a", kind="flood", at_s=0.0)]), "flood"),
        (Plan(steps=[Step(id="a", kind="pause", at_s=-1.0)]), "at_s"),
        (Plan(steps=[Step(id="a", kind="pause")]), "at_s or on"),
        (Plan(steps=[Step(id="a", kind="pause", at_s=0.0, targets=["n9"])]), "n9"),
        (Plan(steps=[Step(id="a", kind="pause", at_s=0.0, args={"ms": 1})]), "args.ms"),
        (Plan(steps=[Step(id="a", kind="frames", at_s=0.0)]), "embedded"),
        (
            Plan(steps=[Step(id="a", kind="pause", at_s=0.0), Step(id="a", kind="kill", at_s=1.0)]),
            "unique",
        ),
        (Plan(steps=[Step(id="a", kind="heal", at_s=0.0, args={"steps": ["b"]})]), "steps"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_line_that_names_the_field(
    plan: Plan, words: str
) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        check_plan(plan)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("[faults]\nkindz = ['pause']\n")
    with pytest.raises(PlanError, match=r"kindz.*\$\.faults"):
        read_plan(path)


def test_a_name_bound_by_a_trigger_can_be_a_target() -> None:
    trigger = Trigger(event="vote_granted", bind="voter")
    check_plan(Plan(steps=[Step(id="a", kind="kill", on=trigger, targets=["$voter"], for_s=1.0)]))


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Trigger(event="vote_grnted"), "on.event.*vote_granted"),
        (Trigger(event="commit", node="n9"), "on.node.*n9"),
        (Trigger(event="commit", node="minority"), "on.node.*minority"),
        (Trigger(event="commit", node="$B"), r"on.node.*\$B"),
        (Trigger(event="append_ack", where={"lader": "n1"}), "on.where.*lader.*leader"),
        (Trigger(event="append_ack", where={"leader": "$B"}), "on.where.leader.*binds"),
        (Trigger(event="commit", count=0), "on.count.*1 or more"),
        (Trigger(event="commit", after_step="b"), "on.after_step.*step of this plan"),
        (Trigger(event="commit", after_s=-1.0), "on.after_s"),
        (Trigger(event="commit", within_s=-1.0), "on.within_s"),
    ],
)
def test_a_trigger_that_could_never_start_its_step_is_refused(trigger: Trigger, words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        check_plan(Plan(steps=[Step(id="a", kind="pause", on=trigger, targets=["n1"])]))
    assert "\n" not in str(caught.value)


def test_a_trigger_names_the_nodes_that_steps_bind() -> None:
    trigger = Trigger(event="append_ack", node="$A", where={"leader": "$L", "last_index": 3})
    first = Step(id="a", kind="pause", at_s=0.0, targets=["$L"], binds={"L": "leader", "A": "one"})
    check_plan(Plan(steps=[first, Step(id="b", kind="pause", on=trigger, targets=["$A"])]))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_shipped_plan_can_be_used(path: Path) -> None:
    plan = read_plan(path)
    assert expand(plan, 1).steps
    assert plan.name == path.stem


def test_default_quotas_scale_with_the_length_of_the_run() -> None:
    full, half = default_quotas(Plan(time_s=30.0)), default_quotas(Plan(time_s=15.0))
    assert full.ok_total == 1000
    assert half.ok_total == 500
    assert "quotas" in PlanFacts.__struct_fields__

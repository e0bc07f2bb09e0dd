from ggmlrpc_core.engine import TRANSITIONS, State, Step


def test_every_state_is_in_the_table_and_can_end():
    assert set(TRANSITIONS) == set(State)
    assert all(
        steps[Step.END] is State.CLOSED for steps in TRANSITIONS.values() if Step.END in steps
    )
    assert all(Step.END in steps for steps in TRANSITIONS.values())


def test_every_step_leads_somewhere_and_every_state_is_reached():
    used = {step for steps in TRANSITIONS.values() for step in steps}
    assert used == set(Step)
    reached = {state for steps in TRANSITIONS.values() for state in steps.values()}
    assert reached | {State.GREETING} == set(State)

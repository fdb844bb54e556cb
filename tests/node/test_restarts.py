from sipfarm.node.restarts import DELAYS_MS, SETTLED_MS, Restarts


def test_deaths_that_follow_one_another_wait_longer_up_to_a_bound() -> None:
    restarts = Restarts()
    waited = [restarts.delay_ms(0) for _ in range(len(DELAYS_MS) + 3)]
    assert waited == [*DELAYS_MS, *[DELAYS_MS[-1]] * 3]
    assert restarts.count == len(waited)


def test_a_member_that_ran_well_is_started_again_at_once() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.delay_ms(SETTLED_MS - 1)
    assert restarts.delay_ms(SETTLED_MS) == DELAYS_MS[0]
    assert restarts.delay_ms(0) == DELAYS_MS[1]

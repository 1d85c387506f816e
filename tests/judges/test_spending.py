import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.config.endpoints import Price
from rlhf.judges.spending import Size, Spending, size_of

SIZE = Size(expected_input=50, most_input=200, expected_output=10, most_output=100)
PRICE = Price(1e-6, 2e-6)


def test_sizes_of_a_request():
    """8 + 4 bytes: 3 tokens expected and 4 a message; at most 12, 16 a message and 256 around."""
    size = size_of([{"content": "abcdefgh"}, {"content": "éé"}], max_tokens=60, expected_output=80)
    assert size == Size(expected_input=3 + 8, most_input=12 + 32 + 256, expected_output=60, most_output=60)
    assert size_of([{"content": ""}], max_tokens=500, expected_output=80).expected_output == 80


def test_a_settled_request_costs_what_it_took():
    """100 tokens in at $1 and 20 out at $2 a million: $0.00014; 120 tokens."""
    spending = Spending(PRICE)
    assert spending.settle(spending.hold(SIZE), 100, 20) == pytest.approx(0.00014)
    assert (spending.calls, spending.tokens, spending.cost_usd) == (1, 120, pytest.approx(0.00014))
    assert (spending.held_tokens, spending.held_cost_usd, spending.under_way) == (0, 0.0, 0)


def test_requests_under_way_count_at_their_worst():
    """One request holds 200 * $1 + 100 * $2 = $0.0004: two fit into $0.0009, three do not."""
    spending = Spending(PRICE, max_cost_usd=0.0009)
    holds = [spending.hold(SIZE) for _ in range(2) if spending.refusal(SIZE) is None]
    assert len(holds) == 2 and spending.refusal(SIZE) == "cost cap"
    spending.settle(holds[0], 100, 20)  # $0.00014 + $0.0004 + $0.0004 > $0.0009
    assert spending.refusal(SIZE) == "cost cap"
    spending.release(holds[1])  # took nothing
    assert spending.refusal(SIZE) is None
    spending.keep(spending.hold(SIZE))  # perhaps paid: $0.00014 + $0.0004
    assert spending.cost_usd == pytest.approx(0.00054)
    assert spending.refusal(SIZE) == "cost cap"


@pytest.mark.parametrize(("limits", "reason"), [({"max_calls": 2}, "call cap"), ({"max_tokens": 700}, "token cap")])
def test_calls_and_tokens_have_limits_without_a_price(limits, reason):
    spending = Spending(None, **limits)
    for _ in range(2):
        assert spending.refusal(SIZE) is None
        spending.hold(SIZE)
    assert spending.refusal(SIZE) == reason


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.integers(0, 100)), max_size=60),
    st.floats(0, 0.01),
    st.integers(0, 5000),
)
def test_limits_hold_whatever_happens_in_whatever_order(events, dollars, tokens):
    spending = Spending(PRICE, max_cost_usd=dollars, max_tokens=tokens, max_calls=30)
    holds = []
    for kind, used_in, used_out in events:
        if kind == 0 or not holds:
            if spending.refusal(SIZE) is None:
                holds.append(spending.hold(SIZE))
        elif kind == 1:
            spending.settle(holds.pop(), used_in, used_out)
        elif kind == 2:
            spending.keep(holds.pop(0))
        else:
            spending.release(holds.pop(0))
        assert spending.cost_usd + spending.held_cost_usd <= dollars + 1e-12
        assert spending.tokens + spending.held_tokens <= tokens
        assert spending.calls <= 30 and spending.under_way == len(holds)

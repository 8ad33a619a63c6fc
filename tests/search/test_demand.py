"""The bounds of a search."""

from __future__ import annotations

import math

import pytest

from segopt_callbacks.search.demand import Demand, Figures, validate_demand


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({}, "at least one of max_bytes"),
        ({"max_bytes": 0}, "`max_bytes` must be a whole number of bytes"),
        ({"max_bytes": 0.5}, "`max_bytes` must be a whole number of bytes"),
        ({"max_bytes": "40kB"}, "`max_bytes` must be a finite number"),
        ({"max_bytes": True}, "`max_bytes` must be a finite number"),
        ({"max_latency_ms": 0}, "`max_latency_ms` must be a number of milliseconds above 0"),
        ({"min_metric": math.nan}, "`min_metric` must be a finite number"),
        ({"max_metric_loss": -0.1}, "`max_metric_loss` must be a distance"),
    ],
)
def test_a_bound_outside_its_range_is_refused_with_what_was_given(bounds, told):
    with pytest.raises(ValueError, match=f"{told}.*Received: "):
        validate_demand(**bounds)


@pytest.mark.parametrize("figures", [Figures(1001, 0.8, 5.0), Figures(1000, 0.79, 5.0), Figures(1000, 0.8, 5.1)])
def test_each_bound_alone_is_missed(figures):
    demand = Demand(max_bytes=1000, max_latency_ms=5.0, min_metric=0.8)
    assert demand.meets(Figures(1000, 0.8, 5.0))
    assert len(demand.misses(figures)) == 1


def test_no_metric_and_no_latency_meet_nothing():
    assert not Demand(min_metric=0.1).meets(Figures(10, math.nan))
    assert not Demand(max_latency_ms=100.0).meets(Figures(10, 0.9))


@pytest.mark.parametrize(("higher", "good", "bad"), [(True, 0.71, 0.69), (False, 0.79, 0.81)])
def test_a_loss_is_counted_from_the_dense_model_whichever_way_is_better(higher, good, bad):
    demand = Demand(max_metric_loss=0.05, higher_is_better=higher)
    assert demand.meets(Figures(1, good), dense=0.75)
    assert not demand.meets(Figures(1, bad), dense=0.75)


def test_the_cheapest_is_wanted_where_the_metric_has_a_bound_and_else_the_best():
    small, good = Figures(100, 0.7), Figures(200, 0.8)
    assert sorted([good, small], key=Demand(min_metric=0.6).order) == [small, good]
    assert sorted([small, good], key=Demand(max_bytes=300).order) == [good, small]
    assert sorted([good, small], key=Demand(max_bytes=300, higher_is_better=False).order) == [small, good]

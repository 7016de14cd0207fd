import math

import pytest
import torch

from minidsk.report.interval import T_95, apart, interval


@pytest.mark.parametrize("values", T_95)
def test_the_table_holds_95_percent_of_students_density(values):
    free = values - 1
    constant = math.exp(math.lgamma((free + 1) / 2) - math.lgamma(free / 2)) / math.sqrt(free * math.pi)
    x = torch.linspace(-T_95[values], T_95[values], 200_001, dtype=torch.float64)
    inside = torch.trapezoid(constant * (1 + x * x / free) ** (-(free + 1) / 2), x).item()
    assert inside == pytest.approx(0.95, abs=1e-4)


def test_mean_and_half_width():
    middle, half = interval([1.0, 2.0, 3.0])
    assert middle == 2
    assert half == pytest.approx(4.303 / math.sqrt(3))
    assert apart([2.0, 3.0, 5.0], [1.0, 2.0, 4.0]) == (1.0, 0.0)


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="values: 1 do not fit"):
        interval([1.0])

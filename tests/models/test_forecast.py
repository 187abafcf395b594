"""What a training says of its length; the clock is one that the tests turn."""

import logging

import pytest

from models.forecast import MEASURED, Forecast
from records.formatting import duration
from records.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, "retain")
    return lambda: [record.getMessage() for record in caplog.records]


def play(forecast: Forecast, clock: Clock, steps: range, total: int, seconds: float) -> None:
    for done in steps:
        clock.now += seconds
        forecast(done, total)


def test_a_forecast_is_made_once_from_the_first_steps_but_the_very_first(messages):
    clock, steps = Clock(), []
    forecast = Forecast(48 / 150, lambda *step: steps.append(step), clock=clock)
    clock.now += 60  # Compiling, before the first step is over.
    play(forecast, clock, range(1, 3), 150, 1.6)
    assert messages() == [], f"no {MEASURED} s and no tenth of the steps yet"
    play(forecast, clock, range(3, 151), 150, 1.6)
    assert messages() == ["150 steps, about 48 epochs, about 4 min"]
    assert steps == [(done, 150) for done in range(1, 151)]


def test_what_is_soon_over_is_told_after_a_tenth_of_it(messages):
    clock = Clock()
    play(Forecast(1 / 60, lambda *_: None, exact=False, clock=clock), clock, range(1, 61), 60, 0.01)
    assert messages() == ["about 60 steps, about 1 epoch, about 1 s"]


def test_after_an_interruption_only_what_is_left_is_told(messages):
    clock = Clock()
    forecast = Forecast(0.125, lambda *_: None, clock=clock)
    forecast.begin(100)
    play(forecast, clock, range(101, 121), 120, 60)
    assert messages() == ["20 more steps, about 2.5 epochs, about 19 min"]


def test_the_pace_is_that_since_the_first_report():
    clock = Clock()
    pace = Pace(clock)
    assert pace.left(40, 100) is None
    clock.now += 10
    assert pace.left(60, 100) == 20
    assert pace.left(100, 100) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "1 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7800, "2 h 10 min"), (7199, "2 h"), (86400, "24 h")],
)
def test_a_duration_is_as_exact_as_it_matters(seconds, text):
    assert duration(seconds) == text

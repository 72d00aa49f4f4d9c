"""The scenario language: concurrency tests about page tables and devices, as tables.

`parse` and `load` read a scenario and compile it to a `shootdown_protocol.program.Program`;
`render` writes one. `docs/scenarios.md` explains the language, `parser` has its grammar.
"""

from shootdown_verify.litmus.condition import And, Condition, FinalIs, Not, Or, RegisterIs
from shootdown_verify.litmus.errors import ScenarioError
from shootdown_verify.litmus.render import render
from shootdown_verify.litmus.scenario import (
    Configuration,
    Expectation,
    Facts,
    Scenario,
    load,
    parse,
)
from shootdown_verify.litmus.vocabulary import CHECKS

__all__ = [
    "CHECKS",
    "And",
    "Condition",
    "Configuration",
    "Expectation",
    "Facts",
    "FinalIs",
    "Not",
    "Or",
    "RegisterIs",
    "Scenario",
    "ScenarioError",
    "load",
    "parse",
    "render",
]

"""The Makefile's targets: each that is promised has a rule, exactly one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(makefile):
    """What is wrong with the targets of a Makefile, a line each."""
    [promised] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    rules = re.findall(r"^([a-z]+):(?!=)", makefile, re.MULTILINE)
    told = re.findall(r'^\t@echo "make ([a-z |]+?)  ', makefile, re.MULTILINE)
    found = [f"{name} has {rules.count(name)} rules" for name in promised.split() if rules.count(name) != 1]
    found += [f"{name} is not in .PHONY" for name in rules if name not in promised.split()]
    found += [f"help tells of {name}" for line in told for name in line.split(" | ") if name not in rules]
    return found


def test_every_target_has_one_rule():
    assert faults((ROOT / "Makefile").read_text(encoding="utf-8")) == []


def test_a_lost_rule_is_noticed():
    rules = "all: twice\n\ttrue\ntwice:\n\ttrue\ntwice: all\n\ttrue\nnew:\n\ttrue\nA := b\n"
    spoilt = f'.PHONY: all lost twice help\n{rules}help:\n\t@echo "make gone | all   words"\n'
    assert faults(spoilt) == ["lost has 0 rules", "twice has 2 rules", "new is not in .PHONY", "help tells of gone"]

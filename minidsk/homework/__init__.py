"""Homework that answers at once: exercises, a bug zoo, scored predictions, and a chapter's receipt.

`check(name, function)` tries a reader's function; `zoo(name, tests)` tries a reader's tests; `predict` takes a guess
before the run and scores it after; `bites` shows a test failing on a planted bug; `receipt` says what a chapter cost.
"""

from minidsk.homework.bites import bites
from minidsk.homework.check import check
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.homework.order import explain_missing_names
from minidsk.homework.predict import Prediction, predict
from minidsk.homework.receipt import receipt
from minidsk.homework.registry import EXERCISES, describe
from minidsk.homework.result import Result
from minidsk.homework.zoo import ZooResult, zoo

__all__ = [
    "EXERCISES",
    "Exercise",
    "Mistake",
    "Prediction",
    "Result",
    "ZooResult",
    "bites",
    "check",
    "describe",
    "predict",
    "receipt",
    "zoo",
]

explain_missing_names()

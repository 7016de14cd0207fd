"""Every configuration refuses what makes no sense, by the name of the field, whoever makes it."""

import dataclasses
import math

import pytest

from minidsk.data.corpus import TinyWebConfig
from minidsk.model.config import ModelConfig
from minidsk.rl.config import PPOConfig, RLConfig
from minidsk.rl.dpo import DPOConfig
from minidsk.rl.recipe import nano
from minidsk.rl.reward_model import RewardModelConfig
from minidsk.rl.selfplay import SelfPlayConfig
from minidsk.train.pretrain import PretrainConfig
from minidsk.train.sft import SFTConfig

CONFIGS = (ModelConfig, TinyWebConfig, PretrainConfig, SFTConfig, RLConfig, PPOConfig, DPOConfig, RewardModelConfig,
           SelfPlayConfig)  # fmt: skip
NUMBERS = [
    (config, field.name, field.type)
    for config in CONFIGS for field in dataclasses.fields(config) if field.type in ("int", "float")
]  # fmt: skip
ENDLESS = {"clip", "clip_low", "clip_high", "value_clip"}  # where infinity means: no limit


def refused(config, name, value):
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        config(**{name: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("config", "name", "kind"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_no_field_takes_what_is_no_number_of_its_kind(config, name, kind):
    for value in (math.nan, -math.inf, -1, -0.5, "3", True, 10**30 if kind == "int" else 1e300):
        if name not in ENDLESS or value != 1e300:
            refused(config, name, value)
    if kind == "int":
        refused(config, name, 2.5)
    if name in ENDLESS:
        config(**{name: math.inf})
    else:
        refused(config, name, math.inf)


def test_the_defaults_fit():
    assert len(NUMBERS) > 80
    for config in CONFIGS:
        config()


@pytest.mark.parametrize("changes", [
    {"ops": "^"}, {"ops": ""}, {"ops": "++"}, {"high": 0}, {"high": 1}, {"high": 10**30}, {"numbers": ()},
    {"numbers": (99,)}, {"numbers": (6,)}, {"numbers": (3, 1)}, {"target_high": 0}, {"guesses": ()},
    {"guesses": (0.0,)}, {"guesses": (math.nan, 1.0)}, {"guesses": (math.inf,)}, {"guesses": (1e308, 1e308)},
])  # fmt: skip
def test_a_web_without_problems_is_refused_at_once(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}\\b"):
        TinyWebConfig(**changes)


def test_a_web_whose_problems_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="no problem found with 3 numbers up to 2"):
        TinyWebConfig(numbers=(3,), high=2, target_high=2, ops="+")


@pytest.mark.parametrize("changes", [{"problems": 0}, {"problems": 10**9}, {"cold_examples": 0}, {"max_new_tokens": 0},
                                     {"seed": -1}, {"seed": 10**30}])  # fmt: skip
def test_a_recipe_names_the_field(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit; it must be a whole number"):
        dataclasses.replace(nano(), **changes)


def test_a_recipe_needs_problems_to_hold_out():
    web = TinyWebConfig(numbers=(2,), high=2, target_high=None, ops="-")  # 2-1=1 is the only one
    recipe = nano()
    with pytest.raises(ValueError, match="no problem of the test split"):
        dataclasses.replace(recipe, pretrain=dataclasses.replace(recipe.pretrain, web=web))


def test_all_that_is_made_at_once_has_a_limit():
    refused(PretrainConfig, "batch", 2**20)
    with pytest.raises(ValueError, match="^prompts: .* at most 1,048,576 answers"):
        RLConfig(prompts=2**17, group=16)


@pytest.mark.parametrize("rewards", [{"accuracy": weight} for weight in (math.nan, math.inf, 1e300)] + [{"tact": 1.0}])
def test_rewards_have_names_and_weights(rewards):
    with pytest.raises(ValueError, match="^rewards: "):
        RLConfig(rewards=rewards)
    RLConfig(rewards={"accuracy": 1.0, "short": -0.5})


@pytest.mark.parametrize("temperature", [math.nan, math.inf, -1.0, 1e-9])
def test_temperatures_can_be_computed_with(temperature):
    refused(RLConfig, "temperature", temperature)
    RLConfig(temperature=0.0)

"""The diffs of CONTRIBUTING.md apply to the package, and what they add works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
TINY = """
import torch
from minidsk import MiniDeepSeek, ModelConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.rl.config import RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.tasks import make_task
from minidsk.train.optim import OptimConfig

tokenizer = CharTokenizer("0123456789\\n")
config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=1, n_routed_experts=0,
                     num_attention_heads=2, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16,
                     intermediate_size=64)
model = MiniDeepSeek(config, torch.Generator().manual_seed(0))
"""
USES = {
    "minidsk/tasks/reverse.py": """
problem = make_task("reverse", numbers=(3,), split="test")[0]
digits = problem.prompt.strip()
assert problem.score(f"<think></think><answer>{digits[::-1]}</answer>") == 1 and len(digits) == 3
assert problem.score(f"<think></think><answer>{digits}</answer>") == (digits == digits[::-1])
from minidsk.train.sft import SFTConfig, fine_tune
from minidsk.train.checkpoint import Run
from minidsk.infer.evaluate import evaluate
policy, task = MiniPolicy(model, tokenizer), make_task("reverse", numbers=(1,))
shown = [(p.prompt, f"</think><answer>{d}</answer>") for p in map(task.__getitem__, range(40))
         for d in "0123456789" + 6 * p.prompt[0]]  # seven answers of 16 are right
teach = SFTConfig(steps=250, batch=32, optim=OptimConfig(lr=1e-2))
fine_tune(policy, shown, teach, Run("sft", "sft", {}), progress=False)
config, run = RLConfig(steps=100, prompts=16, max_new_tokens=8, optim=OptimConfig(lr=3e-3)), Run("rl", "rl", {})
reinforce(policy, task, config, run, progress=False)
right = [line["accuracy"] for line in run.metrics()]
assert sum(right[:5]) / 5 < 0.5 and sum(right[-5:]) / 5 > 0.7, right
assert evaluate(policy, task, 64, 8).accuracy > 0.9
""",
    "minidsk/rl/grpo.py": """
from minidsk.rl.grpo import policy_loss
logp = torch.tensor([[-1.0, -2.0, -9.0]], requires_grad=True)
old, mask = torch.tensor([[-2.0, -2.0, -1.0]]), torch.tensor([[1, 1, 0]])
RLConfig(loss_type="sapo")
loss, _ = policy_loss(logp, old, torch.tensor([1.0]), mask, loss_type="sapo")
torch.testing.assert_close(loss, -2 * ((torch.e - torch.ones(())).sigmoid() + 0.5))  # ratios e and 1
loss.backward()
torch.testing.assert_close(logp.grad[0, 1], torch.tensor(-0.5))  # where nothing has moved, GRPO's
assert logp.grad[0, 2] == 0
""",
    "minidsk/model/block.py": """
ids = torch.randint(4, 15, (1, 200), generator=torch.Generator().manual_seed(0))
other = ids.clone()
other[0, 0] = 3  # beyond the window of the last token
logits = [model(x).logits[0, -1] for x in (ids, other)]
assert torch.equal(*logits) and not torch.equal(model(ids).logits[0, 100], model(other).logits[0, 100])
written = [model.generate(ids, 20, temperature=0, use_cache=cached) for cached in (True, False)]
assert torch.equal(*written)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("path", USES)
def test_what_grows_is_a_diff_of_one_file(tmp_path, path):
    [diff] = [diff for diff in DIFFS if f"+++ b/{path}" in diff]
    assert diff.count("+++ ") == 1
    shutil.copytree(ROOT / "minidsk", tmp_path / "minidsk", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "-"], input=diff, cwd=tmp_path, text=True, check=True)
    use = (TINY + USES[path]).replace('Run("', f'Run("{tmp_path}/')
    done = subprocess.run([sys.executable, "-c", use], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_all_diffs_are_used():
    assert len(DIFFS) == len(USES)

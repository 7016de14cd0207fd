"""Gradients from a CUDA graph are those of the passes that it recorded."""

import dataclasses

import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.device import compiled
from minidsk.train.graph import GraphedGradients, Recorded, graphable
from minidsk.train.loop import Loss, Slices, gradients
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

MODEL = ModelConfig(vocab_size=40, hidden_size=64, num_hidden_layers=3, num_nextn_predict_layers=1)
CONFIG = PretrainConfig(MODEL, batch=8, context=24)


def trained(
    batches: torch.Tensor, *, graph: bool, compile: bool = False, rows: int = 8, kept: int | None = None
) -> tuple[list[float], torch.Tensor]:
    """The losses of one step for each of `batches`, and all weights afterwards."""
    model = MiniDeepSeek(MODEL, torch.Generator().manual_seed(0)).to(batches.device)
    optimizer, slices = Optimizer(model, OptimConfig(lr=1e-2, warmup=0), len(batches)), Slices(rows)
    trainee = compiled(model) if compile else model
    graphed = GraphedGradients(trainee) if graph else None
    losses = []
    for step, ids in enumerate(batches):
        optimizer.schedule(step)
        figures, _ = train_step(trainee, optimizer, ids, CONFIG, None, slices, graphed)
        losses.append(float(figures["loss"]))
    if graphed is not None:
        several = 1 if rows == 8 else 2  # shapes: 8 rows, or 3, 3 and 2
        assert len(graphed.kept) == (batches.is_cuda * several if kept is None else kept)
    return losses, torch.cat(
        [*(p.detach().flatten() for p in model.parameters()), *(r.e_score_correction_bias for r in model.routers())]
    ).cpu()


def batches_of(device: str) -> torch.Tensor:
    return torch.randint(0, 40, (5, 8, 25), generator=torch.Generator().manual_seed(1)).to(device)


@pytest.mark.parametrize("rows", [8, 3])
def test_without_a_gpu_nothing_changes(rows: int) -> None:
    plain, graphed = (trained(batches_of("cpu"), graph=graph, rows=rows) for graph in (False, True))
    assert plain[0] == graphed[0]
    assert torch.equal(plain[1], graphed[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("compile", "rows"), [(False, 8), (True, 8), (False, 3)])
def test_a_graph_learns_the_same(compile: bool, rows: int) -> None:
    batches = batches_of("cuda")
    plain, graphed = (trained(batches, graph=graph, compile=compile, rows=rows) for graph in (False, True))
    # The same kernels in the same order; embeddings and loads are summed by atomics, whose order is free.
    assert plain[0] == pytest.approx(graphed[0], rel=2e-3)
    assert (plain[1] - graphed[1]).abs().max() < 0.02  # two of Adam's steps


class Replayed:
    """What a graph does, for a CPU: the same passes again, from fixed places to fixed places."""

    def __init__(self, model: torch.nn.Module, loss: Loss, batch: tuple[torch.Tensor, ...]) -> None:
        self.model, self.loss, self.batch = model, loss, tuple(x.clone() for x in batch)
        self.figures, found = self.passes()
        self.found = [(weight, gradient) for weight, gradient in found if gradient is not None]

    def passes(self) -> tuple[dict[str, torch.Tensor], list[tuple[torch.nn.Parameter, torch.Tensor | None]]]:
        before = [(weight, weight.grad) for weight in self.model.parameters()]
        self.model.zero_grad(set_to_none=True)
        figures = gradients(self.loss, *self.batch)
        found = [(weight, weight.grad) for weight, _ in before]
        for weight, gradient in before:
            weight.grad = gradient
        return figures, found

    def replay(self) -> None:
        figures, found = self.passes()
        fresh = {id(weight): gradient for weight, gradient in found}
        for weight, place in self.found:
            place.copy_(fresh[id(weight)])
        for name, place in self.figures.items():
            place.copy_(figures[name])


@pytest.mark.parametrize(("rows", "kept", "recordings"), [(8, 4, 1), (3, 4, 2), (2, 4, 1), (3, 1, 10)])
def test_slices_are_added_up(rows: int, kept: int, recordings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of one shape share a graph, which writes over what it found before; and few graphs are kept."""
    made = []

    def record(self: GraphedGradients, loss: Loss, batch: tuple[torch.Tensor, ...]) -> Recorded:
        graph = Replayed(self.model, loss, batch)
        made.append(graph)
        return Recorded(graph, graph.batch, graph.figures, graph.found)

    plain = trained(batches_of("cpu"), graph=False, rows=rows)
    monkeypatch.setattr("minidsk.train.graph.graphable", lambda model: True)
    monkeypatch.setattr("minidsk.train.graph.KEPT", kept)
    monkeypatch.setattr(GraphedGradients, "_record", record)
    graphed = trained(batches_of("cpu"), graph=True, rows=rows, kept=min(recordings, kept))
    assert len(made) == recordings
    assert plain[0] == pytest.approx(graphed[0], rel=1e-6)
    torch.testing.assert_close(plain[1], graphed[1], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_recorded_is_computed_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted\nwhen capturing")

    plain = trained(batches_of("cpu"), graph=False)
    monkeypatch.setattr("minidsk.train.graph.graphable", lambda model: True)
    monkeypatch.setattr(GraphedGradients, "_record", refuse)
    with pytest.warns(UserWarning, match=r"^no CUDA graph here \(operation not permitted\): training goes on") as told:
        graphed = trained(batches_of("cpu"), graph=True)
    assert len(told) == 1
    assert plain[0] == graphed[0]
    assert torch.equal(plain[1], graphed[1])


def test_products_that_wait_for_the_cpu_are_not_recorded() -> None:
    assert not graphable(MiniDeepSeek(MODEL))
    if torch.cuda.is_available():
        narrow = dataclasses.replace(MODEL, moe_intermediate_size=20)  # torch has no grouped product of such rows
        assert not graphable(MiniDeepSeek(narrow).cuda())

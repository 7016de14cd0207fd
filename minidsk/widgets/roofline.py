"""Where a kernel stands under the roof of its device."""

from collections.abc import Mapping
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, numbers, rounded


class Roofline(Figure):
    """Operations per second against operations per byte (Williams et al., 2009), for kernels and a product of matrices.

    devices: for each name the memory's GB/s and the TFLOP/s of its matrix units. kernels: for each name a mapping with
    "bytes" and "flops", both above 0, and, where it was measured on the first device, "seconds". A slider sets the side
    n of a bf16 product of two n x n matrices, which moves 6 n^2 bytes and takes 2 n^3 operations.
    """

    js = "roofline.js"
    device = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    side = traitlets.Int(8).tag(sync=True)  # the power of two

    def __init__(
        self, devices: Mapping[str, tuple[float, float]], kernels: Mapping[str, Mapping[str, float]], title: str = ""
    ) -> None:
        if not devices:
            raise ValueError("devices must hold at least one device")
        roofs = []
        for name, pair in devices.items():
            gb_s, tflop_s = numbers(f"devices[{name!r}]", list(pair))
            if min(gb_s, tflop_s) <= 0:
                raise ValueError(f"devices[{name!r}] needs rates above 0")
            roofs.append({"name": str(name), "gb_s": gb_s, "tflop_s": tflop_s})
        points: list[dict[str, Any]] = []
        for name, kernel in kernels.items():
            if missing := {"bytes", "flops"} - set(kernel):
                raise ValueError(f"kernels[{name!r}] lacks {' and '.join(sorted(missing))}")
            if min(kernel.values()) <= 0:
                raise ValueError(f"kernels[{name!r}] needs numbers above 0")
            points.append({"name": str(name), **{part: rounded(value) for part, value in kernel.items()}})
        super().__init__(data={"devices": roofs, "kernels": points}, title=title)

    def floor(self, kernel: int, device: int = 0) -> float:
        """The least seconds in which a kernel can be done on a device, both by their number."""
        of, on = self.data["kernels"][kernel], self.data["devices"][device]
        return max(of["bytes"] / on["gb_s"] / 1e9, of["flops"] / on["tflop_s"] / 1e12)

    def still(self) -> list[list[str]]:
        """Each kernel's operations per byte, its least time on the first device, and the time that was measured."""
        rows = [
            [of["name"], f"{of['flops'] / of['bytes']:.3g}", f"{1e6 * self.floor(i):.3g} µs",
             f"{1e6 * of['seconds']:.3g} µs" if "seconds" in of else ""]
            for i, of in enumerate(self.data["kernels"])
        ]  # fmt: skip
        return [["kernel", "operations per byte", "least time", "measured"], *rows]

    def describe(self) -> str:
        """The ridge of each device, and each measured kernel's share of what the roof allows."""
        ridges = "; ".join(
            f"{on['name']} {on['gb_s']:g} GB/s and {on['tflop_s']:g} TFLOP/s, ridge at "
            f"{1e3 * on['tflop_s'] / on['gb_s']:.3g} operations per byte"
            for on in self.data["devices"]
        )
        measured = [(i, of) for i, of in enumerate(self.data["kernels"]) if "seconds" in of]
        shares = ", ".join(f"{of['name']} {self.floor(i) / of['seconds']:.0%}" for i, of in measured)
        return f"A roofline. {ridges}." + (f" Share of the roof that was reached: {shares}." if shares else "")

import gguf
import jax
import numpy as np

from pipeline.quant import fake_q4_0, round_q4_0


def test_rounding_equals_that_of_the_gguf_package():
    weight = np.random.default_rng(1).standard_normal((64, 96)).astype(np.float32)
    weight[0, :32] = 0
    stored = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q4_0)
    expected = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType.Q4_0)
    np.testing.assert_allclose(np.asarray(round_q4_0(weight)), expected, rtol=0, atol=2e-7)


def test_the_gradient_passes_straight_through():
    weight = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    gradient = jax.grad(lambda w: (fake_q4_0(w) * 3.0).sum())(weight)
    np.testing.assert_array_equal(np.asarray(gradient), np.full((2, 32), 3.0, np.float32))

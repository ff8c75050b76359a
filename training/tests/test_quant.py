import gguf
import jax
import numpy as np

from pipeline.quant import fake_int8, fake_q4_0, round_int8, round_q4_0, round_up


def test_rounding_equals_that_of_the_gguf_package():
    weight = np.random.default_rng(1).standard_normal((64, 96)).astype(np.float32)
    weight[0, :32] = 0
    stored = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q4_0)
    expected = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType.Q4_0)
    np.testing.assert_allclose(np.asarray(round_q4_0(weight)), expected, rtol=0, atol=2e-7)


def test_rounding_to_q8_0_equals_that_of_the_gguf_package():
    weight = np.random.default_rng(2).standard_normal((8, 64)).astype(np.float32)
    stored = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
    expected = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType.Q8_0)
    np.testing.assert_allclose(np.asarray(round_int8(weight, stored_scale=True)), expected, rtol=0, atol=2e-7)


def test_activations_are_rounded_by_the_largest_of_32():
    x = np.zeros((1, 64), np.float32)
    x[0, :3] = 127.0, 0.5, 1.5
    x[0, 32] = -254.0
    rounded = np.asarray(fake_int8(x))
    np.testing.assert_array_equal(rounded[0, :3], [127.0, 0.0, 2.0])  # ties to even
    assert rounded[0, 32] == -254.0


def test_scales_of_activations_keep_five_bits_and_are_rounded_up():
    exact = [0.0, 1.0, 1.0625, 1.9375, 2.0, 31 * 2.0**-20]
    between = [1.03, 1.07, 1.95, 2.0001]
    rounded = np.asarray(round_up(np.array(exact + between, np.float32)))
    np.testing.assert_array_equal(rounded, np.array([*exact, 1.0625, 1.125, 2.0, 2.125], np.float32))


def test_the_gradient_passes_straight_through():
    weight = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    gradient = jax.grad(lambda w: (fake_q4_0(w) * 3.0).sum())(weight)
    np.testing.assert_array_equal(np.asarray(gradient), np.full((2, 32), 3.0, np.float32))


def test_int8_activations_err_by_half_a_level_at_most_and_pass_gradients():
    x = np.random.default_rng(2).standard_normal((3, 64)).astype(np.float32)
    x[0, :32] = 0
    rounded = np.asarray(fake_int8(x))
    limit = np.asarray(round_up(np.abs(x.reshape(3, 2, 32)).max(axis=-1, keepdims=True) / np.float32(127))) * 0.501
    assert np.all(np.abs(rounded - x).reshape(3, 2, 32) <= limit)
    assert len(np.unique(rounded[1, :32])) > 10
    assert not np.array_equal(rounded, x)
    np.testing.assert_array_equal(np.asarray(jax.grad(lambda v: (fake_int8(v) * 2.0).sum())(x)), np.full(x.shape, 2.0, np.float32))

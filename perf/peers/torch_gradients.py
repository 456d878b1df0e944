#!/usr/bin/env python3
"""Drover's gradients against PyTorch's autograd: the same network, weights and rows.

    "$(perf/peers/torch_setup)" perf/peers/torch_gradients.py [--build build/release] [--limit 1e-5]

For each case Drover collects a rollout, its weights are moved (so that ratios are not 1), and one Adam step is made
whose epsilon is so large that the step is the gradient times a constant: the weights before and after, as safetensors,
give Drover's gradient. PyTorch computes losses and gradients of the same rows in float64 and in float32. Differences are
relative to the largest element of each tensor's gradient. Exits with 1 if Drover's largest one is above the limit.
"""

import argparse
import ctypes
import math
import sys
import tempfile

import numpy as np
import torch
import torch_learner as drover

CASES = {
    "Gaussian, 64-64 tanh": {},
    "Gaussian, 256-256 ReLU": {"width": 256, "activation": "relu"},
    "Gaussian, one trunk, ELU": {"shared_values": 1, "activation": "elu", "num_hidden": 3},
    "Gaussian, entropy, clipped values": {"entropy_coef": 0.05, "value_clip_range": 0.1, "activation": "leaky_relu"},
    "categorical, 64-64 tanh": {"is_discrete": 1},
    "categorical, one trunk, entropy": {"is_discrete": 1, "shared_values": 1, "entropy_coef": 0.05},
    "normalised observations": {"normalize_observations": 1},
}
STEP, INNER_STEP = 10.0, 1e4  # weights move by this times the gradient, which is rounded to their precision
EPSILON = 1e10
FUNCTIONS = [torch.relu, torch.tanh, torch.nn.functional.elu, lambda x: torch.nn.functional.leaky_relu(x, 0.2)]


def chain(tensors, prefix, x, function, last):
    """Layers 0..last of one network; hidden layers are followed by the function."""
    for i in range(last + 1):
        x = torch.nn.functional.linear(x, tensors[f"{prefix}.{i}.weight"], tensors[f"{prefix}.{i}.bias"])
        x = function(x) if i < last else x
    return x


def outputs_and_values(tensors, setup, x):
    function, last = FUNCTIONS[setup.activation], setup.num_hidden
    if "observation.mean" in tensors:
        x = ((x - tensors["observation.mean"]) / tensors["observation.std"]).clamp(-10, 10)
    if not setup.shared_values:
        return chain(tensors, "layers", x, function, last), chain(tensors, "value", x, function, last)[:, 0]
    x = function(chain(tensors, "layers", x, function, last - 1))
    linear = torch.nn.functional.linear
    return (linear(x, tensors[f"layers.{last}.weight"], tensors[f"layers.{last}.bias"]),
            linear(x, tensors[f"value.{last}.weight"], tensors[f"value.{last}.bias"])[:, 0])


def ppo_loss(tensors, setup, rows):
    outputs, values = outputs_and_values(tensors, setup, rows["observations"])
    if setup.is_discrete:
        distribution = torch.distributions.Categorical(logits=outputs)
        logprobs, entropy = distribution.log_prob(rows["actions"]), distribution.entropy()
    else:
        distribution = torch.distributions.Normal(outputs, tensors["log_std"].exp())
        logprobs, entropy = distribution.log_prob(rows["actions"]).sum(1), distribution.entropy().sum(1)
    advantages = rows["advantages"]
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    ratio = (logprobs - rows["logprobs"]).exp()
    clipped = ratio.clamp(1 - setup.clip_range, 1 + setup.clip_range)
    policy = torch.max(-advantages * ratio, -advantages * clipped).mean()
    square = (values - rows["returns"])**2
    if setup.value_clip_range > 0:
        moved = (values - rows["values"]).clamp(-setup.value_clip_range, setup.value_clip_range)
        square = torch.max(square, (rows["values"] + moved - rows["returns"])**2)
    value = 0.5 * square.mean()
    loss = policy + setup.value_coef * value - setup.entropy_coef * entropy.mean()
    return loss, {"policy_loss": policy, "value_loss": value, "entropy": entropy.mean()}


def inner_loss(tensors, setup, rows):
    x = rows["observations"]
    a = torch.sigmoid(chain(tensors, "layers", x, FUNCTIONS[setup.activation], setup.num_hidden))
    torque = (((rows["jacobian"] @ a[:, :, None])[:, :, 0] + rows["bias"] - rows["wanted"]) / 100)**2
    parts = {"torque_loss": torque.mean(), "effort_loss": 0.01 * (a**2).mean()}
    return parts["torque_loss"] + parts["effort_loss"], parts


def torch_gradients(loss, setup, weights, arrays, kind):
    """Gradients by tensor name, and the parts of the loss."""
    tensors = {name: torch.tensor(array, dtype=kind, requires_grad=not name.startswith("observation"))
               for name, array in weights.items()}
    rows = {name: torch.tensor(array, dtype=torch.int64 if array.dtype == np.int32 else kind)
            for name, array in arrays.items()}
    total, parts = loss(tensors, setup, rows)
    total.backward()
    gradients = {name: tensor.grad.double().numpy() for name, tensor in tensors.items() if tensor.grad is not None}
    return gradients, {name: part.item() for name, part in parts.items()}


def difference(got, want):
    """The largest over tensors of |got - want| / max |want|."""
    return max(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max() for name in want)


def compare(name, loss, setup, step, before, after, arrays, stats):
    got = {key: (before[key].astype(np.float64) - after[key]) / step for key in before}
    exact, parts = torch_gradients(loss, setup, before, arrays, torch.float64)
    single, _ = torch_gradients(loss, setup, before, arrays, torch.float32)
    ours = difference({key: got[key] for key in exact}, exact)
    losses = max(abs(getattr(stats, key) - part) / max(abs(part), 1e-3) for key, part in parts.items())
    print(f"| {name} | {sum(g.size for g in exact.values())} | {ours:.1e} | {difference(single, exact):.1e} | "
          f"{losses:.1e} |")
    return max(ours, losses)


def ppo_case(learner, folder, name, fields):
    setup = drover.setup(num_epochs=1, num_minibatches=1, max_grad_norm=0, adam_beta1=0, adam_beta2=0,
                         adam_epsilon=EPSILON, learning_rate=STEP * EPSILON, num_envs=16, **fields)
    drover.check(learner, learner.learner_open(ctypes.byref(setup)), name)
    random = np.random.default_rng(1)
    weights = drover.get_weights(learner)
    mean_and_std = 2 * setup.observation_size * setup.normalize_observations
    moved = weights.size - mean_and_std
    weights[:moved] += random.normal(0, 0.05, moved).astype(np.float32)
    if mean_and_std:
        weights[moved:] = random.uniform(0.5, 1.5, mean_and_std)
    drover.set_weights(learner, weights)
    arrays, before, stats = drover.rollout(learner), drover.saved_weights(learner, folder), drover.PpoStats()
    drover.check(learner, learner.learner_update(ctypes.byref(stats)) < 0, name)
    return compare(name, ppo_loss, setup, STEP, before, drover.saved_weights(learner, folder), arrays, stats)


def inner_case(learner, folder):
    setup = drover.setup(num_hidden=3, width=256, activation="leaky_relu", adam_beta1=0, adam_beta2=0,
                         adam_epsilon=EPSILON, learning_rate=INNER_STEP * EPSILON, observation_size=30, num_outputs=18)
    count, num_joints, random = 512, 6, np.random.default_rng(2)
    parts = {"observations": random.normal(0, 1, (count, 30)),
             "jacobian": random.normal(0, 40, (count, num_joints, 18)),
             "bias": random.normal(0, 5, (count, num_joints)), "wanted": random.normal(0, 60, (count, num_joints))}
    parts = {name: part.astype(np.float32) for name, part in parts.items()}
    samples = np.concatenate([*(part.reshape(count, -1) for part in parts.values()), np.ones((count, 1), np.float32)], 1)
    samples = np.ascontiguousarray(samples)
    drover.check(learner, learner.inner_open(ctypes.byref(setup), samples.shape[1], ctypes.c_int64(count),
                                             drover.address(samples)), "inner")
    before, stats = drover.saved_weights(learner, folder), drover.InnerStats()
    drover.check(learner, learner.inner_update(ctypes.byref(stats)) < 0, "inner")
    return compare("inner learner, 3 x 256 leaky ReLU", inner_loss, setup, INNER_STEP, before,
                   drover.saved_weights(learner, folder), parts, stats)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=drover.ROOT / "build/release", help="where libdrover.so is")
    parser.add_argument("--limit", type=float, default=1e-5, help="largest relative difference that is accepted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        learner = drover.load(options.build, folder)
        print("| case | parameters | Drover's gradients | PyTorch's in float32 | Drover's losses |")
        print("| --- | --- | --- | --- | --- |")
        worst = [ppo_case(learner, folder, name, fields) for name, fields in CASES.items()]
        worst.append(inner_case(learner, folder))
    print(f"\nlargest relative difference from PyTorch {torch.__version__} in float64: {max(worst):.1e}")
    sys.exit(0 if math.isfinite(max(worst)) and max(worst) <= options.limit else 1)


if __name__ == "__main__":
    main()

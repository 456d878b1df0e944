#!/usr/bin/env python3
"""A PPO update by Drover and by PyTorch: the same rollout, network, weights, epochs and minibatches, side by side.

    "$(perf/peers/torch_setup)" perf/peers/torch_update.py [--build build/release] [--rounds 15] [--compile]

64 envs x 128 steps, 17 observations, 6 Gaussian actions, separate value network, 4 epochs of 4 minibatches. PyTorch's
side is written as CleanRL's ppo_continuous_action.py, without what that spends needlessly (distribution objects, sums
moved out of tensors, an optimiser that loops over parameters), in eager mode, and with --compile also with
torch.compile; it runs in processes of its own, one for each number of threads. Its time leaves out the advantages,
which are part of Drover's. In each round everybody updates once from the same weights. Printed are medians, and
Drover's time divided by PyTorch's best: the medians' ratio and, over rounds, its quartiles.
"""

import argparse
import ctypes
import multiprocessing
import os
import sys
import tempfile
import time

import numpy as np
import torch_learner as drover

NETWORKS = [(64, "tanh"), (256, "tanh")]


class TorchLearner:
    """The learner in PyTorch. weights: arrays by their names in Drover's files."""

    def __init__(self, setup, arrays, weights, compiled):
        import torch
        self.torch, self.setup = torch, setup
        self.rows = {name: torch.tensor(array) for name, array in arrays.items()}

        def network(prefix):
            layers = []
            for i in range(setup.num_hidden + 1):
                weight = weights[f"{prefix}.{i}.weight"]
                layers += [torch.nn.Linear(weight.shape[1], weight.shape[0])] + [torch.nn.Tanh()] * (i < setup.num_hidden)
            return torch.nn.Sequential(*layers)

        self.actor, self.critic = network("layers"), network("value")
        self.log_std = torch.nn.Parameter(torch.zeros(setup.num_outputs))
        self.names = {"log_std": self.log_std}
        for prefix, module in (("layers", self.actor), ("value", self.critic)):
            for i, layer in enumerate(module[::2]):
                self.names |= {f"{prefix}.{i}.weight": layer.weight, f"{prefix}.{i}.bias": layer.bias}
        self.parameters = list(self.names.values())
        self.loss = torch.compile(self.eager_loss) if compiled else self.eager_loss
        self.weights = {name: torch.tensor(array) for name, array in weights.items()}

    def eager_loss(self, observations, actions, old_logprobs, advantages, returns):
        torch, setup = self.torch, self.setup
        log_std = self.log_std
        z = (actions - self.actor(observations)) * (-log_std).exp()
        half_log_two_pi = 0.9189385332046727
        logprobs = -0.5 * (z * z).sum(1) - log_std.sum() - setup.num_outputs * half_log_two_pi
        log_ratio = logprobs - old_logprobs
        ratio = log_ratio.exp()
        with torch.no_grad():
            kl = ((ratio - 1) - log_ratio).mean()
            clipped = ((ratio - 1).abs() > setup.clip_range).float().mean()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        limited = ratio.clamp(1 - setup.clip_range, 1 + setup.clip_range)
        policy = torch.max(-advantages * ratio, -advantages * limited).mean()
        value = 0.5 * ((self.critic(observations)[:, 0] - returns)**2).mean()
        entropy = (log_std + 0.5 + half_log_two_pi).sum()
        loss = policy + setup.value_coef * value - setup.entropy_coef * entropy
        return loss, torch.stack([policy.detach(), value.detach(), kl, clipped])

    def update(self):
        """From the first weights, with a new optimiser. Seconds, and the last epoch's mean policy and value loss."""
        torch, setup, rows = self.torch, self.setup, self.rows
        with torch.no_grad():
            for name, parameter in self.names.items():
                parameter.copy_(self.weights[name])
        optimizer = torch.optim.Adam(self.parameters, lr=setup.learning_rate, eps=setup.adam_epsilon, fused=True)
        num_rows = rows["observations"].shape[0]
        size = num_rows // setup.num_minibatches
        begin = time.perf_counter()
        for _ in range(setup.num_epochs):
            order, sums = torch.randperm(num_rows), torch.zeros(4)
            for at in range(0, num_rows, size):
                picked = order[at:at + size]
                loss, parts = self.loss(*(rows[name][picked] for name in (
                    "observations", "actions", "logprobs", "advantages", "returns")))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.parameters, setup.max_grad_norm, foreach=True)
                optimizer.step()
                sums += parts
        seconds = time.perf_counter() - begin
        policy, value = (sums[:2] / setup.num_minibatches).tolist()
        return seconds, policy, value


def serve(pipe, num_threads, compiled):
    """A PyTorch process: gets (setup fields, arrays, weights) to begin a network, "update" for an update."""
    import torch
    torch.set_num_threads(num_threads)
    learner = None
    while (message := pipe.recv()) is not None:
        if message == "update":
            pipe.send(learner.update())
        else:
            fields, arrays, weights = message
            learner = TorchLearner(drover.setup(**fields), arrays, weights, compiled)
            for _ in range(2):
                learner.update()
            pipe.send(torch.__version__)


class Peer:
    """A PyTorch process, from this side."""

    def __init__(self, num_threads, compiled):
        self.name = f"PyTorch, {num_threads} thread{'s' * (num_threads > 1)}{', compiled' * compiled}"
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(theirs, num_threads, compiled), daemon=True)
        self.process.start()

    def begin(self, *message):
        self.pipe.send(message)
        return self.pipe.recv()

    def update(self):
        self.pipe.send("update")
        return self.pipe.recv()


def drover_update(learner, weights):
    drover.set_weights(learner, weights)
    stats = drover.PpoStats()
    seconds = learner.learner_update(ctypes.byref(stats))
    drover.check(learner, seconds < 0, "update")
    return seconds, stats.policy_loss, stats.value_loss


def measure(learner, peers, folder, width, activation, rounds):
    """Seconds [rounds] by name, and everybody's losses."""
    fields = {"width": width, "activation": activation}
    setup = drover.setup(num_workers=len(os.sched_getaffinity(0)), **fields)
    drover.check(learner, learner.learner_open(ctypes.byref(setup)), "open")
    arrays, weights = drover.rollout(learner), drover.get_weights(learner)
    tensors = drover.saved_weights(learner, folder)
    versions = {peer.begin(fields, arrays, tensors) for peer in peers}
    everybody = {"Drover": lambda: drover_update(learner, weights)} | {peer.name: peer.update for peer in peers}
    seconds, losses = {name: [] for name in everybody}, {}
    for update_number in range(rounds + 1):
        for name, update in everybody.items():
            time.sleep(0.02)  # threads of the one before go to sleep
            took, *losses[name] = update()
            if update_number > 0:  # the first is a warm-up
                seconds[name].append(took)
    return seconds, losses, versions.pop()


def report(width, activation, seconds, losses):
    medians = {name: np.median(times) for name, times in seconds.items()}
    best = min((name for name in medians if name != "Drover"), key=medians.get)
    ratios = np.array(seconds["Drover"]) / np.array(seconds[best])
    low, high = np.quantile(ratios, [0.25, 0.75])
    print(f"\n{width}-{width} {activation}:\n\n| who | ms an update, median | policy loss | value loss |")
    print("| --- | --- | --- | --- |")
    for name, median in medians.items():
        print(f"| {name} | {1e3 * median:.1f} | {losses[name][0]:+.4f} | {losses[name][1]:.4f} |")
    print(f"\nDrover / {best}: {medians['Drover'] / medians[best]:.3f} (quartiles over rounds {low:.3f} .. {high:.3f})")
    policy, value = losses["Drover"]
    apart = abs(policy - losses[best][0]) > 0.02 or abs(value / losses[best][1] - 1) > 0.02
    if apart:
        print("the two did not learn the same: their losses are further apart than their orders of rows explain")
    return not apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=drover.ROOT / "build/release", help="where libdrover.so is")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (needs a C++ compiler)")
    options = parser.parse_args()
    num_cpus = len(os.sched_getaffinity(0))
    multiprocessing.set_start_method("spawn")
    peers = [Peer(num_threads, False) for num_threads in sorted({1, 2, num_cpus}) if num_threads <= num_cpus]
    peers += [Peer(num_threads, True) for num_threads in sorted({1, num_cpus}) if options.compile]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        learner = drover.load(options.build, folder)
        for width, activation in NETWORKS:
            seconds, losses, version = measure(learner, peers, folder, width, activation, options.rounds)
            good = report(width, activation, seconds, losses) and good
    print(f"\nPyTorch {version}, {num_cpus} CPUs, {options.rounds} rounds")
    for peer in peers:
        peer.pipe.send(None)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

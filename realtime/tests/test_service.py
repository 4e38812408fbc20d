"""A host as a process: rings and UDP, swaps, metrics, what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import stim
import yaml

from quarterdeck_realtime.client import Client, RingLink, UdpLink
from quarterdeck_realtime.codes import circuit_experiment
from quarterdeck_realtime.control import Control
from quarterdeck_realtime.service import Service
from quarterdeck_realtime.settings import load
from quarterdeck_realtime.status import Ledger

Surface = Callable[..., stim.Circuit]
RUN = (
    "import sys; from pathlib import Path; from quarterdeck_realtime.run import main; sys.exit(main(Path(sys.argv[1])))"
)


def settings(folder: Path, surface: Surface, **more: Any) -> Path:
    """Three qubits of distance 3: over rings, over UDP, and one whose controller sends detectors."""
    surface(3, 2e-2).to_file(folder / "d3.stim")
    surface(3, 2e-2).detector_error_model(decompose_errors=True).to_file(folder / "d3.dem")
    name = f"test-{os.getpid()}-{folder.name}"[:48]
    top = {"name": name, "socket": str(folder / "host.sock"), **more}
    slow = 'profile = "neutral-atom"\n'
    text = "".join(f"{key} = {value!r}\n" for key, value in top.items())
    text += f'[[qubit]]\nname = "left"\ncircuit = "d3.stim"\n{slow}'
    text += f'[[qubit]]\nname = "right"\ncircuit = "d3.stim"\nlink = "udp"\ndecoder = 7\nkind = "union-find"\n{slow}'
    text += f'[[qubit]]\nname = "bare"\ndem = "d3.dem"\ndecoder = 2\n{slow}'
    (folder / "host.toml").write_text(text)
    return folder / "host.toml"


@pytest.fixture
def service(tmp_path: Path, surface: Surface) -> Iterator[Service]:
    with Service(*load(settings(tmp_path, surface, metrics="127.0.0.1:0"))) as service:
        yield service


def decode(client: Client, decoder: int, bits: np.ndarray) -> np.ndarray:
    client.enqueue(decoder, 0, bits)
    return client.get_corrections(decoder, 1)


def test_rings_and_udp_answer_as_pymatching_does(service: Service, surface: Surface) -> None:
    exp = circuit_experiment("d3", surface(3, 2e-2))
    shots = exp.sample(60, seed=3)
    expected, _ = exp.expected(shots)
    with Control(service.socket) as host:
        seated = {qubit.name: qubit for qubit in host.qubits()}
        assert [(q.link, q.decoder, q.kind) for q in seated.values()] == [
            ("rings", 0, "matching"), ("udp", 7, "union-find"), ("rings", 2, "matching"),
        ]  # fmt: skip
        assert all(0 < q.share < 0.5 for q in seated.values())
        left, bare = (Client(RingLink(host.rings(name))) for name in ("left", "bare"))
        right = Client(UdpLink(seated["right"].port))
        for volume, detectors, mask in zip(shots.measurements, shots.detections, expected, strict=True):
            assert decode(left, 0, volume)[0] == mask
            assert decode(bare, 2, detectors)[0] == mask
            assert decode(right, 7, volume).shape == (1,)
        with pytest.raises(ValueError, match="over UDP; it has no rings"):
            host.rings("right")
    with Ledger(service.settings.name) as ledger:
        status = ledger.status()
    assert {patch.name: patch.shots for patch in status.patches} == {"left": 60, "right": 60, "bare": 60}


def test_new_weights_take_over_between_volumes(service: Service, surface: Surface) -> None:
    noisier = surface(3, 4e-2).detector_error_model(decompose_errors=True)
    with Control(service.socket) as host:
        client = Client(RingLink(host.rings("left")))
        volume = np.zeros(circuit_experiment("d3", surface(3, 2e-2)).measurements, dtype=np.bool_)
        assert not decode(client, 0, volume).any() and client.stats(0)["epoch"] == 0
        assert host.swap("left", noisier, "union-find") == 1
        assert not decode(client, 0, volume).any() and client.stats(0)["epoch"] == 1
        assert [qubit.kind for qubit in host.qubits()] == ["union-find", "union-find", "matching"]
        with pytest.raises(ValueError, match="has 120 detectors, left has 24"):
            host.swap("left", surface(5, 1e-2).detector_error_model(decompose_errors=True))
        with pytest.raises(ValueError, match="no qubit middle; there are left, right, bare"):
            host.swap("middle", noisier)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_without_end(tmp_path: Path, surface: Surface, workers: int) -> None:
    surface(3, 5e-3, 20).to_file(tmp_path / "long.stim")
    (tmp_path / "host.toml").write_text(
        f'name = "test-{os.getpid()}-stream"\nsocket = "{tmp_path}/host.sock"\n[[qubit]]\nname = "endless"\n'
        f'circuit = "long.stim"\nwindow = 6\ncommit = 3\nworkers = {workers}\nprofile = "neutral-atom"\n'
    )
    exp = circuit_experiment("d3", surface(3, 5e-3, 20))
    shots = exp.sample(40, seed=5)
    expected, _ = exp.expected(shots)
    assert expected.any()
    noisier = surface(3, 6e-3, 20).detector_error_model(decompose_errors=True)
    with Service(*load(tmp_path / "host.toml")) as service, Control(service.socket) as host:
        client = Client(RingLink(host.rings("endless")))
        for volume, mask in zip(shots.measurements, expected, strict=True):
            *rounds, readout = np.split(volume, np.cumsum(exp.round_bits)[:-1])
            for number, bits in enumerate(rounds):
                client.enqueue(0, number, bits)
                if number == 9:  # new weights in mid-stream
                    swapped = host.swap("endless", noisier)
            assert client.enqueue(0, len(rounds), readout, push=True, close=True).bits(1)[0] == mask
            client.reset(0)
        assert client.stats(0)["epoch"] == swapped == 40
        with pytest.raises(ValueError, match="only its weights change"):
            host.swap("endless", noisier, "union-find")


def test_prometheus_finds_its_figures(service: Service) -> None:
    with urllib.request.urlopen(f"{service.metrics_url}/metrics", timeout=10) as page:
        text = page.read().decode()
    assert "quarterdeck_realtime_up 1\n" in text and 'patch="left",decoder="0"' in text


def test_a_qubit_that_does_not_fit_is_refused(tmp_path: Path, surface: Surface) -> None:
    file = settings(tmp_path, surface, share=1e-7)
    with pytest.raises(ValueError, match="qubit left does not fit: "):
        Service(*load(file))


def test_a_qubit_that_comes_later(tmp_path: Path, surface: Surface) -> None:
    told, qubits = load(settings(tmp_path, surface, places=3))
    with Service(told, qubits[:2]) as service:
        service.add(qubits[2])
        with pytest.raises(ValueError, match="there is a qubit bare already"):
            service.add(qubits[2])
        other = msgspec.structs.replace(qubits[2].settings, name="late")
        with pytest.raises(ValueError, match="no place for qubit late"):
            service.add(msgspec.structs.replace(qubits[2], settings=other))
        with Control(service.socket) as host:
            assert [qubit.name for qubit in host.qubits()] == ["left", "right", "bare"]
            client = Client(RingLink(host.rings("bare")))
            assert not decode(client, 2, np.zeros(24, dtype=np.bool_)).any()
    with Service(msgspec.structs.replace(told, share=0.9), qubits[:1]) as service:
        service.settings = msgspec.structs.replace(service.settings, share=1e-9)
        with pytest.raises(ValueError, match="qubit bare does not fit: "):
            service.add(qubits[2])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"d3.dem"', '"no.dem"', "no.dem cannot be used"),
        ('circuit = "d3.stim"', "", "either its circuit or its dem"),
        ('"right"', '"left"', "two qubits are called left"),
        ('"neutral-atom"', '"photon"', "Invalid enum value 'photon'"),
        ("decoder = 7", "decodr = 7", "unknown field `decodr`"),
        ("[[qubit]]", "[[qubit", "Expected"),
        ("decoder = 7", "decoder = 7\nwindow = 6", "a stream .window. needs a circuit, link rings"),
        ('circuit = "d3.stim"', 'circuit = "d3.stim"\nwindow = 6\ncommit = 6', "advance by 1 to 5 rounds"),
        ('circuit = "d3.stim"', 'circuit = "d3.stim"\nwindow = 6\ncommit = 3', "at least four rounds"),
    ],
    ids=lambda text: text if " " not in text else "",
)
def test_settings_that_make_no_sense(tmp_path: Path, surface: Surface, old: str, new: str, why: str) -> None:
    file = settings(tmp_path, surface)
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=why):
        load(file)


def test_a_decoding_server_s_file_as_a_process(tmp_path: Path) -> None:
    """With the lines that NVIDIA's server prints; ends with the signal that ends it."""
    entry = {
        "id": 3, "type": "pymatching", "block_size": 3, "syndrome_size": 3, "H_sparse": [0, -1, 1, -1, 2, -1],
        "O_sparse": [0, -1, 1, -1, 2, -1], "D_sparse": [0, -1, 1, -1, 2, -1],
        "decoder_custom_args": {"error_rate_vec": [0.1, 0.1, 0.1]},
    }  # fmt: skip
    file = tmp_path / f"yaml-{os.getpid()}.yaml"
    file.write_text(yaml.safe_dump({"decoders": [entry]}))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(file)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "QEC_DECODING_SERVER_READY" and ready[2] == "transport=udp", ready
        port = int(ready[1].removeprefix("port="))
        assert ready[3] == f"ring3={port}"
        client = Client(UdpLink(port, pad=True))
        client.enqueue(3, 0, [1, 0, 1])
        assert client.get_corrections(3, 3).tolist() == [True, False, True]
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and "QEC_DECODING_SERVER_RING decoder=3 dispatched=2" in rest

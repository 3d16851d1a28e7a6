"""Lines as boards print them, from public logs; numbers as they stand there."""

from __future__ import annotations

import pytest

from runtime.probes import Tegrastats, parse_tegrastats
from tests.runtime.probes.conftest import by_name, values

NANO_JP4 = (
    "RAM 1766/3964MB (lfb 197x4MB) SWAP 0/2048MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [24%@1224,15%@1224,13%@1224,10%@1224] EMC_FREQ 0% GR3D_FREQ 0% PLL@21C CPU@25C "
    "PMIC@100C GPU@23.5C AO@33.5C thermal@24.5C POM_5V_IN 2545/2547 POM_5V_GPU 0/0 "
    "POM_5V_CPU 549/529"
)
TX2_JP4 = (
    "RAM 1404/7860MB (lfb 236x4MB) SWAP 0/3930MB (cached 0MB) "
    "CPU [0%@345,off,off,0%@345,0%@345,0%@345] EMC_FREQ 4%@1600 GR3D_FREQ 0%@114 PLL@35.5C "
    "MCPU@35.5C PMIC@100C Tboard@30C GPU@32C BCPU@35.5C thermal@34.1C Tdiode@31.5C "
    "VDD_SYS_GPU 153/153 VDD_SYS_SOC 306/306 VDD_4V0_WIFI 0/0 VDD_IN 1649/1649 "
    "VDD_SYS_CPU 306/306 VDD_SYS_DDR 173/173"
)
AGX_XAVIER_JP4 = (
    "RAM 1545/31919MB (lfb 7400x4MB) SWAP 2/15959MB (cached 1MB) CPU [0%@1190,1%@1190] "
    "EMC_FREQ 1%@408 GR3D_FREQ 12%@318 APE 150 MTS fg 0% bg 0% AO@38C GPU@39.5C Tdiode@41.25C "
    "PMIC@100C AUX@37C CPU@40C thermal@38.8C Tboard@38C GPU 120/100 CPU 468/450 SOC 937/900 "
    "CV 0/0 VDDRQ 312/234 SYS5V 1458/1400"
)
AGX_ORIN_JP5 = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) "
    "CPU [0%@729,12%@729,0%@729,0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 14%@[407,0] VIC_FREQ 729 "
    "APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C "
    "GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW "
    "VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
ORIN_NANO_JP6 = (
    "09-21-2025 15:38:17 RAM 3645/7620MB (lfb 63x4MB) SWAP 236/3810MB (cached 0MB) "
    "CPU [1%@729,1%@729,4%@729,1%@729,0%@729,0%@729] EMC_FREQ 0%@204 GR3D_FREQ 0%@[305] NVDEC off "
    "NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@44.125C soc2@43.375C soc0@42.125C "
    "gpu@44.531C tj@44.531C soc1@43.156C VDD_IN 2957mW/2957mW VDD_CPU_GPU_CV 486mW/486mW "
    "VDD_SOC 1012mW/1012mW"
)
ORIN_NANO_R39 = (
    "09-01-2026 09:25:18 RAM 5739/7546MB (lfb 1x2MB) SWAP 2047/2048MB (cached 209MB) "
    "CPU [72%@1728,75%@1728,88%@1728,79%@1728,87%@1728,78%@1728] GR3D_FREQ 33% cpu@50C/50C "
    "soc2@47.937C/47.937C tj@50C/50C VDD_IN 9761mW/9761mW/9761mW "
    "VDD_CPU_GPU_CV 4238mW/4238mW/4238mW VDD_SOC 1825mW/1825mW/1825mW"
)


@pytest.mark.parametrize(
    ("line", "watts", "ram", "gpu_load", "gpu_clock", "heat"),
    [
        pytest.param(NANO_JP4, 2.545, (1766, 3964), 0, None, ("CPU", 25.0), id="Nano, JetPack 4"),
        pytest.param(TX2_JP4, 1.649, (1404, 7860), 0, 114, ("GPU", 32.0), id="TX2, JetPack 4"),
        pytest.param(
            AGX_XAVIER_JP4, 3.295, (1545, 31919), 12, 318, ("CPU", 40.0), id="AGX Xavier, JetPack 4"
        ),
        pytest.param(
            AGX_ORIN_JP5, 6.755, (4321, 62801), 14, 407, ("tj", 44.343), id="AGX Orin, JetPack 5"
        ),
        pytest.param(
            ORIN_NANO_JP6, 2.957, (3645, 7620), 0, 305, ("tj", 44.531), id="Orin Nano, JetPack 6"
        ),
        pytest.param(
            ORIN_NANO_R39, 9.761, (5739, 7546), 33, None, ("cpu", 50.0), id="Orin Nano, R39"
        ),
    ],
)
def test_a_line_gives_watts_megabytes_load_clock_and_heat(
    line: str,
    watts: float,
    ram: tuple[int, int],
    gpu_load: int,
    gpu_clock: int | None,
    heat: tuple[str, float],
) -> None:
    found = parse_tegrastats(line)
    total = next(r for r in found if r.total)
    assert total.number == pytest.approx(watts)
    memory = by_name(found, "memory")["RAM"]
    assert (memory.value, memory.limit) == ram
    assert values(found, "load")["GPU"] == gpu_load
    assert values(found, "clock").get("GPU") == gpu_clock
    assert values(found, "temperature")[heat[0]] == heat[1]


def test_rails_have_their_own_names_and_units_are_no_rails() -> None:
    assert values(parse_tegrastats(AGX_XAVIER_JP4), "power") == {
        "GPU": 0.12, "CPU": 0.468, "SOC": 0.937, "CV": 0.0, "VDDRQ": 0.312, "SYS5V": 1.458,
        "whole module (GPU + CPU + SOC + CV + VDDRQ + SYS5V)": 3.295,
    }  # fmt: skip
    assert set(values(parse_tegrastats(NANO_JP4), "power")) == {
        "POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU", "whole module (POM_5V_IN)",
    }  # fmt: skip


def test_cores_that_are_off_do_not_count() -> None:
    found = parse_tegrastats("CPU [20%@1420,off,off,40%@729] GR3D_FREQ 45%@921")
    assert values(found, "load") == {"CPU": 30.0, "GPU": 45.0}
    assert values(found, "clock") == {"CPU": 1420.0, "GPU": 921.0}


def test_a_unit_that_is_off_and_a_placeholder_are_no_temperatures() -> None:
    heat = by_name(parse_tegrastats(AGX_ORIN_JP5), "temperature")
    assert heat["GPU"].value is None
    assert "off" in heat["GPU"].reason
    placeholder = by_name(parse_tegrastats(NANO_JP4), "temperature")["PMIC"]
    assert placeholder.value is None
    assert "nothing is measured" in placeholder.reason


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        pytest.param("VDD_IN 4180mW/", "VDD_IN", "expected a pair", id="cut in the pair"),
        pytest.param("VDD_IN 4180mW/41", "VDD_IN", "expected milliwatts", id="cut in the average"),
        pytest.param("VDD_IN", "VDD_IN", "expected a pair", id="cut behind the name"),
        pytest.param("VDD_IN NaNmW/10mW", "VDD_IN", "expected a pair", id="no number"),
        pytest.param("VDD_IN 4W/4W", "VDD_IN", "expected milliwatts", id="another unit"),
        pytest.param("VDD_CPU_CV -398mW/-398mW", "VDD_CPU_CV", "cannot be true", id="below zero"),
        pytest.param("VDD_IN 9999999mW/1mW", "VDD_IN", "cannot be true", id="beyond any board"),
        pytest.param("VDD_IN 1/1 VDD_IN 2/2", "VDD_IN", "twice", id="named twice"),
        pytest.param("CPU [20%@1420,off", "CPU", "cut", id="cores cut"),
        pytest.param("CPU [20%@1420,x%@1]", "CPU", "'x%@1'", id="garbled core"),
        pytest.param("GR3D_FREQ 0%@[305,305", "GPU", "0%@[305", id="GPU cut"),
        pytest.param("GR3D_FREQ 145%@305", "GPU", "cannot be true", id="more than all"),
        pytest.param("cpu@45.5C tj@", "tj", "cut", id="temperature cut"),
        pytest.param("cpu@455C", "cpu", "cannot be true", id="too hot"),
    ],
)
def test_what_is_garbled_is_unknown_with_the_reason(line: str, name: str, reason: str) -> None:
    readings = [r for r in parse_tegrastats(line) if r.name == name and r.value is None]
    assert readings, parse_tegrastats(line)
    assert reason in readings[0].reason


def test_a_total_is_not_made_of_rails_that_are_not_all_there() -> None:
    found = parse_tegrastats("VDD_GPU_SOC 1000mW/1000mW VIN_SYS_5V0 3000mW/3000mW")
    total = next(r for r in found if r.total)
    assert total.value is None
    assert "no input rail" in total.reason


def test_the_probe_passes_on_why_there_is_no_line() -> None:
    assert Tegrastats(lambda: (None, "tegrastats said nothing")).read()[0].reason
    assert "not understood" in Tegrastats(lambda: ("hello", "")).read()[0].reason
    assert by_name(Tegrastats(lambda: (ORIN_NANO_JP6, "")).read(), "power")["VDD_IN"].value == 2.957

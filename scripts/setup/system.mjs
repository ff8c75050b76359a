import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mustRun, SetupError, say, versionOf } from './command.mjs';

/**
 * What must be on the machine beside Node. `present` says whether it is; `debian` names the packages that bring it.
 * Needed tools stop the set-up when they are missing; optional ones cost a named skip in `npm test`.
 */
const tools = {
  compiler: {
    what: 'a C++20 compiler (g++ 12 or newer)',
    present: () => versionOf('g++') !== undefined || versionOf('c++') !== undefined,
    debian: ['g++'],
  },
  make: { what: 'make', present: () => versionOf('make') !== undefined, debian: ['make'] },
  cmake: { what: 'CMake 3.20 or newer', present: () => versionOf('cmake') !== undefined, debian: ['cmake'] },
  chromium: {
    what: 'Chromium, for the browser tests',
    present: () => findChromium() !== undefined,
    debian: ['chromium', 'fonts-dejavu-core'],
  },
  clangFormat: {
    what: 'clang-format, for the C++ layout check',
    present: () => versionOf('clang-format') !== undefined,
    debian: ['clang-format'],
  },
  arm64Compiler: {
    what: 'an arm64 cross compiler, for the arm64 package and its kernel tests',
    present: () => versionOf('aarch64-linux-gnu-g++') !== undefined,
    debian: ['g++-aarch64-linux-gnu'],
  },
  arm64Emulator: {
    what: 'qemu, to run the arm64 kernel tests',
    present: () => process.arch === 'arm64' || versionOf('qemu-aarch64') !== undefined,
    debian: ['qemu-user'],
  },
  python: {
    what: 'Python 3.10 or newer with venv, for the miniature training run',
    present: () => spawnSync('python3', ['-c', 'import venv, ensurepip']).status === 0,
    debian: ['python3', 'python3-venv'],
  },
};

const needed = ['compiler', 'make', 'cmake'];
const optionalForTests = ['chromium', 'clangFormat', 'arm64Compiler', 'arm64Emulator', 'python'];

/** The browser that the host tests drive: `CHROMIUM`, or the first one in the usual places. */
export function findChromium() {
  const candidates = [
    process.env.CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ];
  return candidates.find((path) => path !== undefined && existsSync(path));
}

/** Installs what is missing where that is possible, and stops where a needed tool stays missing. */
export function ensureSystemTools({ forTests }) {
  const wanted = forTests ? [...needed, ...optionalForTests] : needed;
  let missing = wanted.filter((name) => !tools[name].present());
  if (missing.length === 0) return;

  const packages = missing.flatMap((name) => tools[name].debian);
  if (canUseApt()) {
    say(`installing ${packages.join(', ')} (apt)`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const fix = `Install them by hand: apt-get install ${packages.join(' ')}`;
    mustRun('apt-get', ['update', '-qq'], { env, fix });
    mustRun('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env, fix });
    missing = wanted.filter((name) => !tools[name].present());
  }
  const blocking = missing.filter((name) => needed.includes(name));
  if (blocking.length > 0) {
    const list = blocking.map((name) => tools[name].what).join(', ');
    const command = blocking.flatMap((name) => tools[name].debian).join(' ');
    throw new SetupError(
      `Missing: ${list}.\nInstall it and run this again; on Debian: sudo apt-get install ${command}`,
    );
  }
  for (const name of missing) {
    say(`without ${tools[name].what}; on Debian: sudo apt-get install ${tools[name].debian.join(' ')}`);
  }
}

function canUseApt() {
  return process.getuid?.() === 0 && versionOf('apt-get') !== undefined;
}

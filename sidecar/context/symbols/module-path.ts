/** Whether an import names a file, by the habits of the languages that we parse. */
import path from 'node:path';

/** `importer` and `target` are workspace-relative. */
export function importsFile(importer: string, module: string, target: string): boolean {
  if (module === '') return false;
  const bare = withoutExtension(target);
  if (module.startsWith('.') && module.includes('/')) {
    const wanted = path.posix.join(path.posix.dirname(importer), module);
    return (
      wanted === target || withoutExtension(wanted) === bare || wanted === bare || `${wanted}/index` === bare
    );
  }
  // `a.b`, `crate::a::b`, `a/b.h`: the end of a path.
  const slashes = module.replace(/^(?:crate|self|super)::/, '').replaceAll('::', '/');
  if (slashes.includes('/')) return endsWith(target, slashes) || endsWith(bare, withoutExtension(slashes));
  if (target.endsWith(`/${slashes}`) || target === slashes) return true;
  if (!slashes.includes('.')) return target === `${slashes}.py` && path.posix.dirname(importer) === '.';
  const dotted = slashes.replace(/^\.+/, '').replaceAll('.', '/');
  return endsWith(bare, dotted) || endsWith(bare, `${dotted}/__init__`);
}

function withoutExtension(file: string): string {
  const dot = file.lastIndexOf('.');
  return dot > file.lastIndexOf('/') + 1 ? file.slice(0, dot) : file;
}

function endsWith(file: string, end: string): boolean {
  return file === end || file.endsWith(`/${end}`);
}

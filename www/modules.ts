// The generated WebAssembly modules in Node.js, for the build.

import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

interface Startable {
  default(source: { module_or_path: BufferSource }): Promise<unknown>;
}

/** `name`: folder and file below `src/generated`. */
export async function load<Module extends Startable>(name: string): Promise<Module> {
  const at = (suffix: string): string => fileURLToPath(new URL(`src/generated/${name}${suffix}`, import.meta.url));
  const module: Module = await import(pathToFileURL(at('.js')).href);
  await module.default({ module_or_path: readFileSync(at('_bg.wasm')) });
  return module;
}

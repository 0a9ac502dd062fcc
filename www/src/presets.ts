// The examples of the repository as presets: the same files that the tests run, read when the page is built.

import type { ScenarioFile } from './engine.js';

export interface Preset {
  /** `folder/file`, stable across builds. */
  id: string;
  folder: string;
  group: string;
  title: string;
  policies: string;
  scenario: ScenarioFile;
}

/** A preset and the index of one of its requests. */
export interface Opening {
  preset: Preset;
  request: number;
}

/**
 * Where the page opens: the asked preset, or else the first, on a request that a policy denies although it carries
 * a token. There the nearest miss says most.
 */
export function openingOf(presets: Preset[], asked: string): Opening | undefined {
  const wanted = presets.filter((preset) => preset.id === asked || preset.folder === asked);
  const candidates = wanted.length > 0 ? wanted : presets;
  for (const preset of candidates) {
    const request = preset.scenario.requests.findIndex(
      (each) => each.expect.status === 403 && each.request.tokens.length > 0,
    );
    if (request >= 0) return { preset, request };
  }
  const [first] = candidates;
  return first && { preset: first, request: 0 };
}

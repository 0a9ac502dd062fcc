// Entry of driver.html: lets a test harness run cases through the page's own engine, by events.

import { startEngine } from './engine.js';
import type { EngineHost, LoadReport, Report, RequestInput, Setting } from './engine.js';

interface Case {
  setting: Setting;
  requests: RequestInput[];
}

type Result =
  | { load: LoadReport; reports: Report[] }
  | { error: string };

const started = startEngine();

window.addEventListener('portcullis-run', (event) => {
  if (event instanceof CustomEvent && isRun(event.detail)) void run(event.detail.id, event.detail.cases);
});

async function run(id: unknown, cases: Case[]): Promise<void> {
  const start = await started;
  const results: Result[] =
    start.kind === 'started'
      ? cases.map((each) => runCase(start.engine, each))
      : cases.map(() => ({ error: start.kind === 'blocked' ? 'WebAssembly is blocked' : start.message }));
  window.dispatchEvent(new CustomEvent('portcullis-result', { detail: { id, results } }));
}

function runCase(engine: EngineHost, { setting, requests }: Case): Result {
  const load = engine.load(setting);
  if (load.kind === 'stopped') return { error: 'the engine stopped on this setting' };
  const reports: Report[] = [];
  for (const request of requests) {
    const report = engine.explain(request);
    if (report.kind === 'stopped') return { error: `the engine stopped on request ${reports.length}` };
    reports.push(report.value);
  }
  return { load: load.value, reports };
}

function isRun(detail: unknown): detail is { id: unknown; cases: Case[] } {
  return typeof detail === 'object' && detail !== null && 'id' in detail && 'cases' in detail && Array.isArray(detail.cases);
}

// The clock of a decision: real time, or a time the reader fixed.

export interface Clock {
  mode: 'real' | 'fixed';
  /** RFC 3339 text, used in mode `fixed`. */
  fixed: string;
  /** Seconds from minting the tokens to sending the request. */
  delay: number;
}

export const realClock: Clock = { mode: 'real', fixed: '2026-01-01T00:00:00Z', delay: 0 };

/** Seconds since epoch at which tokens are minted; undefined when the fixed time is not a time. */
export function baseTime(clock: Clock, realNow: number): number | undefined {
  if (clock.mode === 'real') return realNow;
  const milliseconds = Date.parse(clock.fixed);
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
}

export function realNow(): number {
  return Math.floor(Date.now() / 1000);
}

/** `2026-01-01T00:00:00Z`, for seconds since epoch; the number itself when out of range. */
export function timeText(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace('.000Z', 'Z');
}

/** How far `seconds` lies from `now`, in the largest unit that says enough: `in 59 min`, `2 d ago`. */
export function distanceText(seconds: number, now: number): string {
  const away = Math.abs(seconds - now);
  const amount =
    away < 120 ? `${away} s`
    : away < 7200 ? `${Math.round(away / 60)} min`
    : away < 172_800 ? `${Math.round(away / 3600)} h`
    : `${Math.round(away / 86_400)} d`;
  return seconds >= now ? `in ${amount}` : `${amount} ago`;
}

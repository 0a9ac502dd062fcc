declare module 'virtual:presets' {
  export const presets: import('./presets.js').Preset[];
}

// The policies and scenarios of the repository's examples, by path. A chunk of its own: it is data, and it grows.

export const files = import.meta.glob<string>('../../examples/*/{policies,scenarios}*.yaml', {
  query: '?raw',
  import: 'default',
  eager: true,
});

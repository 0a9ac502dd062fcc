// The YAML files of the repository's examples, by path. A chunk of its own: it is data, and it grows.

export const files = import.meta.glob<string>(['../../examples/*/*.yaml', '!../../examples/keys/*'], {
  query: '?raw',
  import: 'default',
  eager: true,
});

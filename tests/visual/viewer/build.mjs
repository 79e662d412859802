// Bundles the page into page.js. Node's own modules, which some dependencies name but never use in a browser, become empty.
import * as esbuild from 'esbuild';

const empty = {
  name: 'empty',
  setup(build) {
    build.onResolve({ filter: /^(stream|tty|util|fs|path)$/ }, ({ path }) => ({ path, namespace: 'empty' }));
    build.onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: 'module.exports = { inspect() {}, inherits() {}, deprecate: (f) => f, isatty: () => false }' }));
  },
};

await esbuild.build({
  entryPoints: ['src/page.jsx'], outfile: 'page.js', bundle: true, format: 'iife', platform: 'browser', target: 'es2022', jsx: 'automatic', minify: true, logLevel: 'warning',
  plugins: [empty], define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.ttf': 'dataurl' }, mainFields: ['module', 'main'], conditions: ['import', 'browser', 'default'],
});

import tailwindcss from '@tailwindcss/vite'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

/** Where `npm run dev` finds a running controller. */
const controller = process.env['KVNODE_CONTROLLER'] ?? 'http://127.0.0.1:5000'

const paths = ['/status', '/workers', '/logs', '/partition', '/kv', '/socket.io']

export default defineConfig({
  plugins: [vue(), tailwindcss()],
  build: {
    // The policy the page is served under has no data: scripts or fonts, so nothing is inlined.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: Object.fromEntries(paths.map((path) => [path, { target: controller, ws: path === '/socket.io' }])),
  },
  test: {
    // Specs of components ask for a DOM themselves.
    environment: 'node',
    isolate: false,
    include: ['src/**/*.spec.ts'],
    // A busy machine is no reason to fail.
    testTimeout: 30_000,
    restoreMocks: true,
    unstubGlobals: true,
  },
})

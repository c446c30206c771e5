#!/usr/bin/env node
// Kept to syntax any Node of the last years reads, so that an old one gets a sentence, not a stack.
import module from 'node:module'
import process from 'node:process'

const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(
    `mcm: Node ${process.versions.node} is too old: mcm needs Node 24 or newer\n` +
      'try: npm install --global node@24, or run it through npm (npm start) which brings its own\n',
  )
  process.exit(2)
}

module.enableCompileCache?.()
// kubectl runs `mcm credential` on every command: that path skips the command framework.
const fast = process.argv[2] === 'credential' || process.argv[2] === '--version'
const { main } = await import(fast ? '../dist/fast.js' : '../dist/main.js')
await main(process.argv.slice(2), import.meta.url)

/** Runs inside a session that has a keychain: does what its arguments say, prints what came back as JSON. */
import { Secret } from '../../src/secret.ts'
import { openSecretStore } from '../../src/store/secrets.ts'

const [keychain, directory, ...steps] = process.argv.slice(2)
const said: string[] = []
const results: unknown[] = []
try {
  const store = await openSecretStore({
    directory: directory!,
    keychain: keychain as 'auto' | 'require',
    service: 'mcm test',
    notify: (message) => said.push(message),
  })
  results.push(store.kind)
  for (const step of steps) {
    const [verb, name, value] = step.split('=')
    if (verb === 'set') await store.set(name!, new Secret(value!))
    if (verb === 'get') results.push((await store.get(name!))?.reveal() ?? null)
    if (verb === 'delete') results.push(await store.delete(name!))
  }
} catch (error) {
  results.push((error as { code?: string }).code ?? String(error))
}
process.stdout.write(JSON.stringify({ results, said }))
process.exit()

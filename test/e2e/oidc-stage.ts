import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { browse } from '../client/browse.ts'
import type { RealProvider } from '../client/real-provider.ts'
import type { Person, Stage } from './stage.ts'

/** People who come by a token: their browsers, the codes they type, and logins that end. */

/** Somebody with a browser, which writes down where it goes. */
export async function withBrowser(stage: Stage, name: string) {
  const person = stage.person(name)
  const [log, script] = [join(stage.directory, `${name}.log`), join(stage.directory, `${name}.sh`)]
  const fixture = join(import.meta.dirname, 'fixtures', 'browse.ts')
  await writeFile(log, '')
  await writeFile(
    script,
    `#!/bin/sh\necho "$1" >>"${log}"\n"${process.execPath}" "${fixture}" "$1"\n`,
  )
  await chmod(script, 0o700)
  const windows = async () => (await readFile(log, 'utf8')).split('\n').filter(Boolean).length
  return { person, windows, env: { BROWSER: script } }
}

/** An administrator lets the provider in; gives the link people log in with. */
export async function setProvider(
  stage: Stage,
  admin: Person,
  provider: RealProvider,
  groups: readonly string[] = ['developers=dev'],
): Promise<string> {
  const ca = join(stage.directory, 'provider-ca.pem')
  await writeFile(ca, provider.caPem)
  const scopes = ['email', 'groups', 'offline_access'].flatMap((scope) => ['--scope', scope])
  const people = ['--client-id', 'mcm', ...groups.flatMap((group) => ['--group', group]), ...scopes]
  const where = ['--issuer', provider.issuer, '--domain', 'example.com', '--ca', ca]
  const text = await admin.must(['oidc', 'set', 'corp', ...where, ...people, '--json'])
  const [set] = JSON.parse(text) as [{ link: string }]
  return set.link
}

/** As if the login had ended long ago, and every certificate with it. */
export async function endLogin({ home }: Person): Promise<void> {
  const path = join(home, 'state.json')
  const state = JSON.parse(await readFile(path, 'utf8'))
  state.provided.admission.until = '2020-01-01T00:00:00Z'
  await writeFile(path, JSON.stringify(state))
  await rm(join(home, 'certificates'), { recursive: true })
}

/** What a person does on another device with the page they were told. */
export async function confirmCode(uri: URL): Promise<void> {
  const cookies = new Map<string, string>()
  const code = uri.searchParams.get('user_code')!
  const page = await browse(uri, cookies)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)![1]!
  const asked = await browse(new URL(uri.pathname, uri), cookies, { xsrf, user_code: code })
  const again = /name="xsrf" value="([^"]+)"/.exec(asked.text)?.[1] ?? xsrf
  await browse(new URL(uri.pathname, uri), cookies, {
    xsrf: again,
    user_code: code,
    confirm: 'yes',
  })
}

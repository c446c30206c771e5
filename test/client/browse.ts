import { once } from 'node:events'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'

const MAX_STEPS = 20

/** A browser of a person who clicks on: follows redirects, keeps cookies. Gives the last page. */
export async function browse(
  start: URL,
  cookies = new Map<string, string>(),
  form?: Record<string, string>,
): Promise<{ status: number; text: string; url: URL }> {
  let [url, body] = [start, form]
  for (let step = 0; step < MAX_STEPS; step++) {
    const page = await load(url, cookies, body)
    if (page.location === undefined) return { ...page, url }
    url = new URL(page.location, url)
    body = undefined
  }
  throw new Error('the redirects have no end')
}

async function load(url: URL, cookies: Map<string, string>, form?: Record<string, string>) {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const text = form && new URLSearchParams(form).toString()
  const asked = request(url, {
    method: form ? 'POST' : 'GET',
    headers: {
      ...(cookie === '' ? {} : { cookie }),
      ...(text === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
    },
    // It is a person who has clicked the warning away.
    rejectUnauthorized: false,
    agent: false,
  })
  asked.end(text)
  const [response] = await once(asked, 'response')
  for (const line of response.headers['set-cookie'] ?? []) {
    const [name = '', value = ''] = String(line).split(';')[0]!.split(/=(.*)/s)
    if (value === '') cookies.delete(name)
    else cookies.set(name, value)
  }
  let body = ''
  for await (const chunk of response) body += chunk
  return {
    status: response.statusCode as number,
    text: body,
    location: response.headers.location as string | undefined,
  }
}

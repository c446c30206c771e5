import type { Screen } from './screen.ts'
import { plainLine } from './text.ts'

/** `mcm up`: a line a step, and at the end what to type next. */

const STEP_WIDTH = 12

export function viewUpStep(step: string, result: string, { talkStyle }: Screen): string {
  return `${talkStyle.green('✓')} ${step.padEnd(STEP_WIDTH)}${plainLine(result)}`
}

export interface UpFacts {
  readonly kubeconfig: string
  readonly cluster: { readonly name: string }
  readonly roundTrip: { readonly user: string }
  readonly checks?: readonly string[]
}

export function viewUp({ kubeconfig, cluster, roundTrip, checks }: UpFacts): string {
  if (checks)
    return [
      'checked:',
      ...checks.map((check) => `  ${check}`),
      'everything is taken away again',
      '',
    ].join('\n')
  return [
    '',
    `You are ${roundTrip.user} in cluster ${cluster.name}. In another terminal:`,
    `  export KUBECONFIG=${kubeconfig}`,
    '  kubectl get pods --all-namespaces',
    '  kubectl auth whoami',
    'Ctrl-C ends everything and leaves nothing behind.',
    '',
  ].join('\n')
}

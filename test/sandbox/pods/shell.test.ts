import { describe, expect, test } from 'vitest'
import { run } from './running-container.ts'

/** What a script prints, and its exit code when it is not 0. */
async function sh(script: string, input?: string): Promise<string> {
  const { stdout, stderr, exitCode } = await run(['sh', '-c', script], input)
  return `${stdout}${stderr}${exitCode === 0 ? '' : `[${exitCode}]`}`
}

describe('scripts', () => {
  test.each([
    ['words and quotes', `echo a 'b  c' "d  e" f\\ g ""`, 'a b  c d  e f g \n'],
    ['parameters', `x=1; echo $x \${x}2 "\${y:-none}" '$x'`, '1 12 none $x\n'],
    ['fields of a parameter', 'x="a  b"; echo $x; echo "$x"', 'a b\na  b\n'],
    ['commands within words', 'echo $(echo in; echo side) `echo old`', 'in side old\n'],
    ['arithmetic', 'i=2; echo $((i * (3 + 4) % 5)) $((i > 1 && 7 / 2 == 3))', '4 1\n'],
    ['and, or, not', 'true && echo a; false || echo b; ! false && echo c', 'a\nb\nc\n'],
    ['pipes', 'seq 1 100 | grep 7 | wc -l', '19\n'],
    ['an if', 'if false; then echo a; elif true; then echo b; else echo c; fi', 'b\n'],
    ['a for', 'for i in a b "c d"; do echo "<$i>"; done', '<a>\n<b>\n<c d>\n'],
    [
      'a while with break and continue',
      'i=0; while true; do i=$((i+1)); [ $i = 2 ] && continue; [ $i -gt 3 ] && break; echo $i; done',
      '1\n3\n',
    ],
    ['an until', 'i=0; until [ $i -eq 2 ]; do i=$((i+1)); done; echo $i', '2\n'],
    ['groups and subshells', 'x=1; (x=2; echo $x); { x=3; }; echo $x', '2\n3\n'],
    [
      'redirections',
      'echo a > /tmp/f; echo b >> /tmp/f; cat < /tmp/f; ls /nowhere 2> /dev/null',
      'a\nb\n[1]',
    ],
    ['stderr into stdout', 'ls /nowhere 2>&1 | wc -l', '1\n'],
    ['what a group is redirected to', '{ echo a; echo b; } > /tmp/f; cat /tmp/f', 'a\nb\n'],
    ['comments and continued lines', 'echo a # not this\necho b \\\n c', 'a\nb c\n'],
    ['positional parameters', 'sh -c \'echo $0 $1 $# "$@"\' name "a b" c', 'name a b 2 a b c\n'],
    ['exec', 'exec echo instead; echo never', 'instead\n'],
    ['cd and pwd', 'cd /etc && pwd && cat hostname', '/etc\nthe-pod\n'],
    [
      'names of files',
      'cd /etc; echo host* "host*" /tmp/none*',
      'hostname hosts host* /tmp/none*\n',
    ],
    ['background and wait', 'sleep 0.01 & wait; echo $?', '0\n'],
    ['assignments before a command', 'X=1 env | grep ^X=; echo "[$X]"', 'X=1\n[]\n'],
    ['export', 'X=1; export X Y=2; env | grep "^[XY]=" | sort', 'X=1\nY=2\n'],
  ])('%s', async (_, script, printed) => {
    expect(await sh(script)).toBe(printed)
  })

  test('exit codes: the last one, exit, a name there is not, a signal', async () => {
    expect((await run(['sh', '-c', 'false'])).exitCode).toBe(1)
    expect((await run(['sh', '-c', 'exit 7; echo never'])).exitCode).toBe(7)
    expect((await run(['sh', '-c', '(exit 3); exit $?'])).exitCode).toBe(3)
    expect(await sh('no-such-command')).toBe('sh: no-such-command: not found\n[127]')
    expect(await sh('kill -9 $$; echo never')).toBe('[137]')
    expect(await sh('kill $$')).toBe('[143]')
    expect(await sh('/etc/passwd')).toBe('sh: /etc/passwd: Permission denied\n[126]')
  })

  test('a name outside of the shell is not found in the words of a container runtime', async () => {
    const { stderr, exitCode } = await run(['no-such-command'])
    expect(exitCode).toBe(127)
    expect(stderr).toContain('exec: "no-such-command": executable file not found in $PATH')
  })

  test.each([
    'echo "',
    "echo '",
    'if true',
    'for i in a; do',
    '(echo',
    'echo $(',
    '| cat',
    '&& x',
    'done',
    `\${x!}`,
    'echo $((1+))',
    'echo $((1/0))',
  ])('what is no script is said: %s', async (script) => {
    const { stderr, exitCode } = await run(['sh', '-c', script])
    expect(exitCode).not.toBe(0)
    expect(stderr).toContain('sh: ')
  })

  test('a script nested beyond reason is refused', async () => {
    const nested = `${'('.repeat(5_000)}true${')'.repeat(5_000)}`
    expect((await run(['sh', '-c', nested])).exitCode).toBe(2)
    const substituted = `${'$('.repeat(5_000)}true${')'.repeat(5_000)}`
    expect((await run(['sh', '-c', `echo ${substituted}`])).exitCode).toBe(2)
  })

  test('a script on stdin runs line by line; what commands read is not read as script', async () => {
    const { stdout } = await run(['sh'], 'echo one\nread line\nnot a command\necho "$line"\n')
    expect(stdout).toBe('one\nnot a command\n')
  })

  test('a loop over stdin leaves nothing out', async () => {
    const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index}\n`).join('')
    expect(await sh('while read a b; do echo "$a $b"; done', lines)).toBe(lines)
  })

  test('an endless writer ends when nobody reads', async () => {
    expect(await sh('yes | head -n 2; cat /dev/zero | head -c 3 | wc -c')).toBe('y\ny\n3\n')
  })

  test('scripts in files run when they may', async () => {
    const script =
      'echo "echo from a file \\$1" > /tmp/s; /tmp/s; chmod +x /tmp/s; /tmp/s x; sh /tmp/s y'
    expect(await sh(script)).toBe('from a file x\nfrom a file y\nsh: /tmp/s: Permission denied\n')
  })
})

describe('programs', () => {
  test.each([
    ['printf', 'printf "%s-%d\\n" a 1 b 2', 'a-1\nb-2\n'],
    ['echo -n and -e', 'echo -n a; echo -e "b\\tc"', 'ab\tc\n'],
    [
      'head and tail',
      'seq 5 | head -n 2; seq 5 | tail -n 2; seq 5 | tail -n +5; echo hello | head -c 2',
      '1\n2\n4\n5\n5\nhe',
    ],
    ['wc', 'printf "a b\\nc\\n" | wc', '2 3 6\n'],
    ['tr', 'echo abc | tr a-c A-C; echo abc | tr -d b', 'ABC\nac\n'],
    [
      'grep',
      'seq 3 | grep -v 2; seq 3 | grep -c .; echo a | grep -q b || echo no',
      '1\n3\n3\nno\n',
    ],
    ['sort', 'printf "b\\na\\nb\\n" | sort -u; seq 10 | sort -rn | head -n 1', 'a\nb\n10\n'],
    [
      'sha256sum',
      'printf abc | sha256sum',
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n',
    ],
    ['base64', 'echo hello | base64; echo aGk= | base64 -d', 'aGVsbG8K\nhi'],
    ['tee', 'echo x | tee /tmp/a /tmp/b | cat - /tmp/a /tmp/b', 'x\nx\nx\n'],
    [
      'files',
      'mkdir -p /tmp/d/e; touch /tmp/d/e/f; ls /tmp/d; cp /tmp/d/e/f /tmp/g; mv /tmp/g /tmp/h; ls /tmp; rm -r /tmp/d; ls /tmp',
      'e\nd\nh\nh\n',
    ],
    [
      'test',
      '[ -d /tmp ] && [ ! -e /no ] && [ a = a ] && [ 2 -gt 1 ] && test -n x && echo all',
      'all\n',
    ],
    ['which', 'which sh; which gcc', '/bin/sh\n[1]'],
    ['hostname', 'hostname; whoami; id -u', 'the-pod\nroot\n0\n'],
  ])('%s', async (_, script, printed) => {
    expect(await sh(script)).toBe(printed)
  })

  test('what fails is said, with the name of the program', async () => {
    expect(await sh('cat /nope')).toBe("cat: can't open '/nope': No such file or directory\n[1]")
    expect(await sh('ls /nope')).toBe('ls: /nope: No such file or directory\n[1]')
    expect(await sh('mkdir /a/b')).toBe('mkdir: /a/b: No such file or directory\n[1]')
    expect(await sh('echo x > /no/where')).toBe(
      "sh: can't create /no/where: No such file or directory\n[1]",
    )
    expect(await sh('sleep x')).toBe("sleep: invalid number 'x'\n[1]")
    expect(await sh('kill 4242')).toBe("sh: can't kill pid 4242: No such process\n[1]")
  })
})

describe('what a container cannot do', () => {
  test('no path leads to the machine', async () => {
    const path = import.meta.filename
    for (const name of [path, `/../../..${path}`, `/proc/self/environ`, '/root/.ssh'])
      expect((await run(['cat', name])).exitCode).toBe(1)
    expect((await run(['ls', '/'])).stdout.split('\n')).not.toContain('proc')
  })

  test('no program of the machine runs', async () => {
    for (const name of ['node', 'bash', '/bin/bash', process.execPath, 'python3', 'curl'])
      expect((await run([name, '--version'])).exitCode).toBe(127)
  })

  test('its environment is its own', async () => {
    const { stdout } = await run(['env'])
    expect(stdout).not.toContain(`PWD=${process.cwd()}`)
    expect(stdout.split('\n').filter((line) => line !== '')).toHaveLength(5)
  })

  test('its files have a bound, which is told as that of a disk', async () => {
    const { stderr, exitCode } = await run(['sh', '-c', 'yes > /tmp/full'])
    expect(stderr).toContain('No space left on device')
    expect(exitCode).not.toBe(0)
  })
})

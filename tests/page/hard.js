// Shows what is hard to lay out, in the place of what the server sends, and says what does not fit.
const [width, isTouched] = [document.documentElement.clientWidth, innerWidth < 700];
const long = (start) => start.padEnd(64, '-0123456789abcdef');
const backend = (name, other) => ({
  name, address: '127.0.0.1:8081', state: 'up', mode: 'ready', since_seconds: 693, reason: 'check passed', weight: 1, backup: false,
  active: 12, picked: 345, p50_us: 2540, p99_us: 64_700, ...other,
});
const refused = 'check failed: Connection refused (os error 111)';
const answer = `check failed: status 503 where 200-399 passes, with "${'service.unavailable.'.repeat(8)}" in what was sent`;
const hard = [
  backend(long('backend-with-a-rather-long-name.eu-central-1.internal.example'), { address: '[2001:db8:1234:5678:9abc:def0:1234:5678]:18083' }),
  backend('[2001:db8:1234:5678:9abc:def0:1234:5678]:65535', { address: '[2001:db8:1234:5678:9abc:def0:1234:5678]:65535', active: 12_345_678, picked: 98_765_432_109, p50_us: 699_990_000, p99_us: 3 * 86_400e6 }),
  backend('socket', { address: 'unix:/run/a-service-with-a-name-of-its-own/and-a-folder/below-it/worker-0001.sock', weight: 256, p50_us: 999.9, p99_us: 999_950, active: 1_234_567, picked: 1_234_567_890 }),
  backend('drained', { mode: 'drain', since_seconds: 8 * 86_400 }),
  backend('maintained', { mode: 'maintenance', state: 'on-trial', backup: true, reason: answer, since_seconds: 59.9, p50_us: 59.9e6, p99_us: 60e6 }),
  backend('dead', { state: 'down', backup: true, reason: refused, p50_us: null, p99_us: null, active: 0, picked: 0, since_seconds: 86_399 }),
  backend('thrown-out', { state: 'ejected', reason: answer, p50_us: 0.4, p99_us: 99.96 }),
];
const many = Array.from({ length: 200 }, (_, n) => backend(`10.0.${n >> 6}.${n}:443`, {
  address: `10.0.${n >> 6}.${n}:443`, picked: n * 7919, state: n % 50 === 7 ? 'down' : 'up', reason: n % 50 === 7 ? refused : 'check passed',
}));
const pool = (name, algorithm, backends, now) => ({ name, algorithm, shadows: [], queued: 0, backends, now });
const decision = (other) => ({
  seconds_ago: 0.2, client: '127.0.0.1', pool: 'app', algorithm: 'least-response-time', chosen: 'a', outcome: 'complete', duration_seconds: 0.0579,
  candidates: [1, 2], candidates_total: 200, ...other,
});
const waves = (size, length) => Array.from({ length }, (_, n) => Math.abs(Math.sin(n / 7)) * size + size / 9);
const past = (size, length) => waves(size, length).map((value, n) => ({
  rate: value, p50_us: n % 40 < 5 ? null : value * 31, p99_us: n % 40 < 5 ? null : value * (n === 60 ? 2500 : 220),
}));
const pools = [
  pool(long('a-pool-with-a-long-name-for-payments-and-invoices'), 'weighted-round-robin', hard, { rate: 1_234_567, p50_us: 2540, p99_us: 43_800 }),
  pool('quiet', 'round-robin', [backend('x', {})], { rate: 0, p50_us: null, p99_us: null }),
  pool('many', 'least-response-time', IS_MANY ? many : many.slice(0, 3), { rate: 25, p50_us: 999.9, p99_us: 60e6 }),
];
pools[0].shadows = ['least-connections', 'power-of-two'];
pools[0].queued = 12_345;
const real = show;
begin({ [pools[0].name]: past(9e5, 120), quiet: [{ rate: 0, p50_us: null, p99_us: null }], many: past(20, 70) });
// What the server sends from now on is not shown.
show = () => {};
real({
  version: '0.1.0', state: 'running', uptime_seconds: 123 * 86_400 + 4_000, generation: 1234, epoch: 1, sessions: 12_345_678, sessions_max: 20_000_000,
  accepted: 98_765_432_109, pools,
  changes: [
    { time: new Date().toISOString(), what: `pool app, backend ${long('b')}`, from: 'up', to: 'down', reason: refused, who: 'health' },
    { time: '2026-01-02T03:04:05Z', what: 'pool app, backend [2001:db8:1234:5678:9abc:def0:1234:5678]:18083', from: 'weight 1', to: 'weight 7', reason: 'an operator wanted it', who: '[2001:db8:1234:5678:9abc:def0:1234:5678]:38498' },
  ],
  decisions: [decision({}), decision({ pool: long('p'), chosen: long('c'), client: '2001:db8:1234:5678:9abc:def0:1234:5678', seconds_ago: 4_000 }), decision({ chosen: null, outcome: 'nobody', duration_seconds: null })],
});

const seen = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.getClientRects().length > 0);
const about = (one) => `${one.tagName}.${one.getAttribute('class') ?? ''} "${one.textContent.slice(0, 50)}"`;
const box = (one) => one.getBoundingClientRect();
const kept = seen('body *').filter((one) => !one.closest('.skip, thead, svg'));
// Beyond the window, or text beyond the cell or the card that it is in.
const outside = kept.filter((one) => box(one).right > width + 0.5 || box(one).left < -0.5);
const spilt = kept.filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline');
// Numbers, times and words of buttons are on one line each.
const lines = (one) => {
  const range = document.createRange();
  range.selectNodeContents(one);
  return new Set([...range.getClientRects()].filter((rect) => rect.width > 0).map((rect) => Math.round(rect.top))).size;
};
const wrapped = seen('td.active, td.picked, td.p50, td.p99, .time, .mark, button, figcaption b, .axes span, #facts dd > :first-child').filter((one) => lines(one) > 1);
// Buttons of one backend stand in one row.
const torn = seen('.acts').filter((one) => new Set([...one.children].map((button) => box(button).top)).size > 1);
// Columns of all pools begin at the same place.
const columns = seen('table').map((table) => [...table.querySelectorAll('tbody tr:first-child > *')].map((cell) => Math.round(box(cell).left)).join());
const small = isTouched ? seen('button, input, footer a').filter((one) => box(one).height < 44 || box(one).width < 44) : [];
// The keyboard goes as the eye does.
const backwards = seen('tbody tr').filter((row) => {
  const centres = [...row.querySelectorAll('input, button')].map((one) => [(box(one).top + box(one).bottom) / 2, box(one).left]);
  return centres.some(([y, x], n) => n > 0 && (y < centres[n - 1][0] - 5 || (y < centres[n - 1][0] + 5 && x < centres[n - 1][1])));
});
// Text in parts that stand on a colour of their own, as WCAG counts it.
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = (colour) => {
  const [r, g, b] = rgba(colour).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
};
const ground = (one) => (!one ? 'white' : rgba(getComputedStyle(one).backgroundColor)[3] === 255 ? getComputedStyle(one).backgroundColor : ground(one.parentElement));
const contrast = (colour, one) => Math.max(light(colour) / light(ground(one)), light(ground(one)) / light(colour));
const faint = [
  ...seen('.mark, button, input, a, small, .soft, .axes span, #link, .name span, td').filter((one) => contrast(getComputedStyle(one).color, one) < 4.5),
  ...seen('button, input').filter((one) => contrast(getComputedStyle(one).borderTopColor, one.closest('section')) < 3),
  ...seen('svg.line path').filter((one) => contrast(getComputedStyle(one).stroke, one.closest('section')) < 3),
];
return {
  sideways: document.documentElement.scrollWidth - width,
  outside: outside.map(about), spilt: spilt.map(about), wrapped: wrapped.map(about), torn: torn.map(about), small: small.map(about),
  faint: faint.map(about), backwards: backwards.map(about), unlike: new Set(columns).size,
};

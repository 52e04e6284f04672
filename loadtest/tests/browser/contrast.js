// How well text and lines can be told from what is behind them, as WCAG counts it: text at least 4.5, lines at least 3.
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = colour => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = colour => {
  const [r, g, b] = rgba(colour).slice(0, 3).map(part => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
};
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (rgba(colour)[3] === 255) return colour;
  }
  return 'white';
};
const seen = selector => [...document.querySelectorAll(selector)].filter(element => element.getClientRects().length > 0);
const faint = [];
const check = (element, colour, back, least) => {
  const found = contrast(colour, back);
  if (!(found >= least)) faint.push(`${element.textContent || element.getAttribute('class')}: ${found.toFixed(2)}`);
};
const texts = seen('h1, h2, h3, p, li, th, td, dt, dd, figcaption, footer');
texts.forEach(text => check(text, getComputedStyle(text).color, behind(text), 4.5));
const drawn = seen('svg text');
drawn.forEach(text => {
  const bar = text.matches('.in-bar') && text.previousElementSibling;
  check(text, getComputedStyle(text).fill, bar ? getComputedStyle(bar).fill : behind(text), 4.5);
});
const lines = seen('path.line, path.p99, path.p50');
lines.forEach(line => check(line, getComputedStyle(line).stroke, behind(line), 3));
return {
  texts: texts.length + drawn.length, lines: lines.length, faint, background: getComputedStyle(document.body).backgroundColor,
};

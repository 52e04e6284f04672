// What can be seen of each chart: its size, what is drawn in it, and texts that are in each other's way or cut off.
const charts = [...document.querySelectorAll('svg[role=img]')].filter(svg => svg.getBoundingClientRect().width > 0);
const scroll = window.scrollX;
return charts.map(svg => {
  const box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(text => ({ text: text.textContent, box: text.getBoundingClientRect() }));
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  const overlapping = [];
  texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {
    if (meet(a.box, b.box)) overlapping.push(`${a.text} / ${b.text}`);
  }));
  const outside = texts.filter(({ box: text }) =>
    text.left < box.left - 1 || text.right > box.right + 1 || text.top < box.top - 2 || text.bottom > box.bottom + 2);
  const size = svg.viewBox.baseVal;
  return {
    figure: svg.closest('figure').id,
    left: box.left + scroll, right: box.right + scroll, width: box.width, height: box.height,
    shapes: svg.querySelectorAll('path.line, path.p50, path.p99, circle, rect.share').length,
    // How high the smallest letters are in the end.
    text: 12 * box.width / size.width,
    overlapping, outside: outside.map(({ text }) => text),
  };
});

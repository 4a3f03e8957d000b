namespace ConformanceTests.SelfTests;

/// <summary>A connection of the suite, and the socket at its other end, which says what a self-test wants.</summary>
internal sealed class Pair : IDisposable
{
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    public readonly ProtocolConnection Wire;
    public readonly Socket Peer;

    public Pair(Side self, Delivery delivery = Delivery.Whole)
    {
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen(1);
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(_listener.LocalEndPoint!);
        Wire = new ProtocolConnection(socket, self, delivery) { Patience = RunSettings.Milliseconds(400) };
        Peer = _listener.Accept();
    }

    public void Dispose()
    {
        Wire.Dispose();
        Peer.Dispose();
        _listener.Dispose();
    }
}
